"""`torchrun -m podium_benchmarks.resnet`."""

import sys

from podium_benchmarks.core import cli
from podium_benchmarks.resnet.config import PRESETS
from podium_benchmarks.resnet.data import check_data
from podium_benchmarks.resnet.train import train

if __name__ == "__main__":
    sys.exit(cli.run("resnet", PRESETS, check_data, train))
