"""`torchrun -m podium_benchmarks.ssd`."""

import sys

from podium_benchmarks.core import cli
from podium_benchmarks.ssd.config import PRESETS
from podium_benchmarks.ssd.data import check_data
from podium_benchmarks.ssd.train import train

if __name__ == "__main__":
    sys.exit(cli.run("ssd", PRESETS, check_data, train))
