"""`torchrun -m podium_benchmarks.gnmt`."""

from podium_benchmarks.core import cli
from podium_benchmarks.gnmt import BENCHMARK

if __name__ == "__main__":
    cli.main(BENCHMARK)
