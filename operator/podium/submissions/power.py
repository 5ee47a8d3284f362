"""Power readings beside the logs: one folder for each attempt, one file for each node (power_measurement.adoc)."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import PurePosixPath

from podium.mllog import Parser
from podium.rules import Finding
from podium.rules.catalog import RuleId
from podium.stores import Store
from podium.submissions.tree import Folder

_LONGEST_INTERVAL = 1.2  # seconds on average; the rules want one sample a second, and stamps are rounded
_LONGEST_GAP = 5.0  # seconds without a sample during the attempt
_ENDS = 2.0  # seconds without a sample at the start and at the end of the timed part
_MOST_NAMES = 10
_MAX_READINGS = 1_000_000  # of one file: eleven days


def check_power(store: Store, folder: Folder) -> Iterator[Finding]:
    """Yield findings against the power readings of an entry; none if it has none. Raises StoreError."""
    if not folder.power:
        return
    files = _by_attempt(folder)
    names = [PurePosixPath(log.name) for log in folder.logs]
    if missing := [name.name for name in names if name.stem not in files]:
        message = f"no readings of {len(missing)} of {len(names)} attempts: {', '.join(missing[:_MOST_NAMES])}"
        remedy = "measure every attempt, and put its readings in power/<name of its log>/"
        yield Finding(RuleId.REVIEW_POWER, f"{folder.path}/power".lstrip("/"), message, remedy=remedy)
    nodes = statistics.mode(len(keys) for keys in files.values())
    for name, keys in files.items():
        where = str(PurePosixPath(keys[0]).parent)
        if name not in {log.stem for log in names}:
            message, remedy = "has readings of an attempt that is not here", "name the folder as its log"
            yield Finding(RuleId.REVIEW_POWER, where, message, remedy=remedy)
        elif len(keys) != nodes:
            message, remedy = f"has readings in {len(keys)} files; other attempts have {nodes}", "measure every node"
            yield Finding(RuleId.REVIEW_POWER, where, message, remedy=remedy)
    remedy = "sample at least once a second, from before run_start until after run_stop"
    for log in folder.logs:
        keys = files.get(PurePosixPath(log.name).stem, ())
        faults = [(key, _fault(read_readings(store, key), log.summary.run_start, log.summary.run_stop)) for key in keys]
        wrong = [(key, text) for key, text in faults if text]
        if wrong:
            (key, text), more = wrong[0], len(wrong) - 1
            message = f"{text}; {more} other nodes are wrong, too" if more else text
            yield Finding(RuleId.REVIEW_POWER, key, message, remedy=remedy)


def energy_joules(store: Store, folder: Folder) -> Mapping[int, float]:
    """Return the energy of each attempt with readings: power times the time since the reading before, over all nodes.

    Readings outside the timed part do not count. Raises StoreError.
    """
    found: dict[int, float] = {}
    files = _by_attempt(folder)
    for log in folder.logs:
        start, stop = log.summary.run_start, log.summary.run_stop
        for key in files.get(PurePosixPath(log.name).stem, ()):
            readings = read_readings(store, key)
            for (before, _), (time, watts) in pairwise(readings):
                if start is not None and stop is not None and start <= time and before <= stop:
                    seconds = min(time, stop) - max(before, start)
                    found[log.index] = found.get(log.index, 0.0) + watts * seconds
    return found


def read_readings(store: Store, key: str) -> list[tuple[float, float]]:
    """Return the readings of one file, in order: unix seconds, and watts. Raises StoreError."""
    parser, found = Parser(), []
    for chunk in store.chunks(key):
        found += [(e.time, float(e.value)) for e in parser.feed(chunk) if _is_reading(e.key, e.value)]
        if len(found) > _MAX_READINGS:
            break
    found += [(e.time, float(e.value)) for e in parser.close() if _is_reading(e.key, e.value)]
    return sorted(found[:_MAX_READINGS])


def _is_reading(key: str, value: object) -> bool:
    return key == "power_reading" and isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _by_attempt(folder: Folder) -> Mapping[str, Sequence[str]]:
    """The files with readings, by the name of their folder: that of the attempt's log."""
    found: dict[str, list[str]] = defaultdict(list)
    for key in folder.power:
        found[PurePosixPath(key).parent.name].append(key)
    return found


def _fault(readings: Sequence[tuple[float, float]], start: float | None, stop: float | None) -> str:
    """What is wrong with the readings of a node during its attempt; "" if nothing is."""
    if start is None or stop is None or stop <= start:
        return ""
    timed = [time for time, _ in readings if start <= time <= stop]
    if not timed[1:]:
        return "has no readings during the attempt"
    mean = statistics.fmean(after - before for before, after in pairwise(timed))
    if mean > _LONGEST_INTERVAL:
        return f"has a reading every {mean:.2f} s; the rules want one every second"
    longest = max(after - before for before, after in pairwise(timed))
    if longest > _LONGEST_GAP:
        return f"has no reading for {longest:.0f} s; the rules want one every second"
    if timed[0] - start > _ENDS or stop - timed[-1] > _ENDS:
        return f"has readings for {timed[-1] - timed[0]:.0f} of {stop - start:.0f} s"
    return ""
