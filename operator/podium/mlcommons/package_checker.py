"""Run MLCommons' own package checker on a copy of a package, and work around its defects.

It exits with 0 whatever it finds, writes scaling.json into the results, and reads the logs with its own parsers, which
interpret unusual lines differently than ours. So it never gets the original files: only the system descriptions, and
logs rewritten from the events that Podium has read and found harmless.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from podium.mlcommons.checker import Official, official
from podium.mlcommons.process import ToolError, worker
from podium.mllog import Event, Parser
from podium.rules import Finding
from podium.rules.catalog import RuleId

_SECONDS = 900
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}")
_LOG = re.compile(r"result_\d+\.txt")


def package_findings(files: Mapping[str, bytes], org: str, round_: str) -> tuple[Finding, ...]:
    """The checker's findings on a package (content by path); none for v0.6, whose packages it cannot read.

    Raises MissingCheckerError.
    """
    checker = official(round_)
    if checker is None or round_ == "v0.6":
        return ()
    copied: dict[str, bytes] = {}
    found: list[Finding] = []
    for path, content in files.items():
        parts = PurePosixPath(path).parts
        if len(parts) < 2 or parts[1] not in ("results", "systems"):
            continue  # the checker reads nothing else
        if path.startswith("/") or not all(map(_NAME.fullmatch, parts)):
            message = "is not a valid name in a package"
            found.append(Finding(RuleId.PACKAGE_NAME, path, message, remedy="use letters, digits, -, _, + and ."))
        elif _LOG.fullmatch(parts[-1]):
            events = _events(content)
            found += checker.unsafe(events, path)
            copied[path] = _log(events)
        elif parts[1] == "systems":
            copied[path] = content
    return tuple(found) or _ask(checker, copied, org)


def _ask(checker: Official, files: Mapping[str, bytes], org: str) -> tuple[Finding, ...]:
    try:
        with worker().folder_for(files) as folder:
            answer = worker().ask("package", seconds=_SECONDS, ruleset=checker.rules.name, folder=folder, org=org)
    except ToolError as error:
        message = f"MLCommons' package checker gave up: {error}"
        return (Finding(RuleId.PACKAGE_OFFICIAL, org, message, remedy="run it on a copy to see where it stops"),)
    said = [*answer["errors"], *(f"there is no rule file {name}" for name in answer["refused"])]
    if answer["passed"] and not said:
        return ()
    return tuple(
        Finding(RuleId.PACKAGE_OFFICIAL, org, " ".join(str(line).split()))
        for line in said or ["it failed without an error message"]
    )


def _events(log: bytes) -> list[Event]:
    parser = Parser()
    return [*parser.feed(log), *parser.close()]


def _log(events: Sequence[Event]) -> bytes:
    """A log of these events and nothing else, in the format of v0.7 and later."""
    lines = (
        {"namespace": "", "time_ms": round(event.time * 1000, 3), "event_type": "POINT_IN_TIME", "key": event.key,
         "value": event.value, "metadata": event.metadata}
        for event in events
    )  # fmt: skip
    return "".join(f":::MLLOG {json.dumps(line)}\n" for line in lines).encode()
