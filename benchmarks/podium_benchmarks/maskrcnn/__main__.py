"""`torchrun -m podium_benchmarks.maskrcnn`."""

from podium_benchmarks.core import cli
from podium_benchmarks.maskrcnn import BENCHMARK

if __name__ == "__main__":
    cli.main(BENCHMARK)
