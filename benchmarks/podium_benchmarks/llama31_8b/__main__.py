"""`torchrun -m podium_benchmarks.llama31_8b`."""

from podium_benchmarks.core import cli
from podium_benchmarks.llama31_8b import BENCHMARK

if __name__ == "__main__":
    cli.main(BENCHMARK)
