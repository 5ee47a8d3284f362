"""``podium replay``."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from podium.cli.errors import UsageError
from podium.mllog import Parser, replayed

# What a run says of itself instead of what the log says: the keys of the log, by the variables of the launch contract
_OF_THE_RUN = {
    "PODIUM_SUBMISSION_ORG": "submission_org",
    "PODIUM_SUBMISSION_STATUS": "submission_status",
    "PODIUM_DIVISION": "submission_division",
    "PODIUM_PLATFORM": "submission_platform",
}


def replay(
    logs: Annotated[list[Path], typer.Argument(metavar="LOG...", help="Logs, such as result_0.txt.")],
    speed: Annotated[float, typer.Option(min=0.001, help="How many times as fast as it was printed.")] = 1.0,
) -> None:
    """Print a stored log again, with the stamps of now.

    As the command of a run, it stands for the training: attempt N prints the N-th LOG, with the seed, submitter,
    division and system of the run. Only node 0 prints. A time to train is that of the log, divided by the speed.
    """
    if os.environ.get("PET_NODE_RANK", "0") != "0":
        return
    number = int(os.environ.get("PODIUM_ATTEMPT", "1"))
    if number > len(logs):
        raise UsageError(f"attempt {number} has no log: {len(logs)} given; name one for each attempt")
    try:
        content = logs[number - 1].read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {logs[number - 1]}: {error.strerror}") from error
    parser = Parser()
    events = [*parser.feed(content), *parser.close()]
    if not events:
        raise UsageError(f"{logs[number - 1]} has no MLPerf lines: name a log of a result")
    for at, line in replayed(events, float(int(time.time())), speed, _values(os.environ)):
        time.sleep(max(0.0, at - time.time()))
        print(line, flush=True)


def _values(environment: Mapping[str, str]) -> dict[str, Any]:
    """What replaces the values of the log; nothing outside a run."""
    values: dict[str, Any] = {key: environment[name] for name, key in _OF_THE_RUN.items() if name in environment}
    if seed := environment.get("PODIUM_SEED"):
        values["seed"] = int(seed)
    return values
