"""`torchrun -m podium_benchmarks.transformer`."""

import sys

from podium_benchmarks.core import cli
from podium_benchmarks.transformer.config import PRESETS
from podium_benchmarks.transformer.data import check_data
from podium_benchmarks.transformer.train import train

if __name__ == "__main__":
    sys.exit(cli.run("transformer", PRESETS, check_data, train))
