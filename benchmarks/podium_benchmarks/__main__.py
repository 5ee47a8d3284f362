"""`podium-benchmarks`: the list of benchmarks, their data sets, and the sizes of their full models."""

from __future__ import annotations

import argparse
import json
import sys

from podium_benchmarks import benchmarks
from podium_benchmarks.prepare import command


def main() -> int:
    """Run the sub-command asked for."""
    records = benchmarks()
    listing = "\n".join(f"  {record.name:11} {record.task}" for record in records)
    parser = argparse.ArgumentParser(
        prog="podium-benchmarks",
        description="MLPerf Training reference models in PyTorch.",
        epilog=f"benchmarks:\n{listing}\n\nrun one: torchrun -m podium_benchmarks.<benchmark> --help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command")
    params = commands.add_parser("params", help="print the parameter count of every full model")
    params.add_argument("--json", action="store_true", help="as one JSON object")
    command.add_parser(commands, {record.name: record.preparation for record in records})
    arguments = parser.parse_args()
    if arguments.command == "prepare":
        return command.run(arguments)
    if arguments.command != "params":
        parser.print_help()
        return 0
    counts = {record.name: record.parameter_count() for record in records}
    if arguments.json:
        print(json.dumps(counts))
    else:
        for name, count in counts.items():
            print(f"{name:11} {count:>12,}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
