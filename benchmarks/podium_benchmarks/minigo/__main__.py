"""`torchrun -m podium_benchmarks.minigo`, and `python -m podium_benchmarks.minigo predict`."""

import sys

from podium_benchmarks.core import cli
from podium_benchmarks.minigo import BENCHMARK
from podium_benchmarks.minigo.predict import predict

if __name__ == "__main__":
    if sys.argv[1:2] == ["predict"]:
        sys.exit(predict(sys.argv[2:]))
    cli.main(BENCHMARK)
