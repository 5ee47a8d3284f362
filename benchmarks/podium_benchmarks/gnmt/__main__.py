"""`torchrun -m podium_benchmarks.gnmt`."""

import sys

from podium_benchmarks.core import cli
from podium_benchmarks.gnmt.config import PRESETS
from podium_benchmarks.gnmt.data import check_data
from podium_benchmarks.gnmt.train import train

if __name__ == "__main__":
    sys.exit(cli.run("gnmt", PRESETS, check_data, train))
