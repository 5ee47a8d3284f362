"""`torchrun -m podium_benchmarks.ssd`."""

import sys

from podium_benchmarks.core import cli
from podium_benchmarks.ssd import BENCHMARK

if __name__ == "__main__":
    sys.exit(cli.run(BENCHMARK))
