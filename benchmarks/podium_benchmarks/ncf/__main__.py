"""`torchrun -m podium_benchmarks.ncf`."""

import sys

from podium_benchmarks.core import cli
from podium_benchmarks.ncf.config import PRESETS
from podium_benchmarks.ncf.data import check_data
from podium_benchmarks.ncf.train import train

if __name__ == "__main__":
    sys.exit(cli.run("ncf", PRESETS, check_data, train))
