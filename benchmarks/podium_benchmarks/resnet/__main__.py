"""`torchrun -m podium_benchmarks.resnet`."""

from podium_benchmarks.core import cli
from podium_benchmarks.resnet import BENCHMARK

if __name__ == "__main__":
    cli.main(BENCHMARK)
