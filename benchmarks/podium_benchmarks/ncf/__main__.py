"""`torchrun -m podium_benchmarks.ncf`, and `python -m podium_benchmarks.ncf generate`."""

import sys

from podium_benchmarks.core import cli
from podium_benchmarks.ncf.config import PRESETS
from podium_benchmarks.ncf.data import check_data
from podium_benchmarks.ncf.generate import generate
from podium_benchmarks.ncf.train import train

if __name__ == "__main__":
    if sys.argv[1:2] == ["generate"]:
        sys.exit(generate(sys.argv[2:]))
    sys.exit(cli.run("ncf", PRESETS, check_data, train))
