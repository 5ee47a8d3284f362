"""`torchrun -m podium_benchmarks.transformer`."""

from podium_benchmarks.core import cli
from podium_benchmarks.transformer import BENCHMARK

if __name__ == "__main__":
    cli.main(BENCHMARK)
