"""`torchrun -m podium_benchmarks.ssd`."""

from podium_benchmarks.core import cli
from podium_benchmarks.ssd import BENCHMARK

if __name__ == "__main__":
    cli.main(BENCHMARK)
