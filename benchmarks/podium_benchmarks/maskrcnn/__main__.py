"""`torchrun -m podium_benchmarks.maskrcnn`."""

import sys

from podium_benchmarks.core import cli
from podium_benchmarks.maskrcnn.config import PRESETS
from podium_benchmarks.maskrcnn.data import check_data
from podium_benchmarks.maskrcnn.train import train

if __name__ == "__main__":
    sys.exit(cli.run("maskrcnn", PRESETS, check_data, train))
