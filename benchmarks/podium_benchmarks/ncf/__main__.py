"""`torchrun -m podium_benchmarks.ncf`, and `python -m podium_benchmarks.ncf generate`."""

import sys

from podium_benchmarks.core import cli
from podium_benchmarks.ncf import BENCHMARK
from podium_benchmarks.ncf.generate import generate

if __name__ == "__main__":
    if sys.argv[1:2] == ["generate"]:
        sys.exit(generate(sys.argv[2:]))
    cli.main(BENCHMARK)
