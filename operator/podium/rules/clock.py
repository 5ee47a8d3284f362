"""Compares the stamps of a log with the times at which its lines were seen. Pure.

Three clocks take part. The program stamps a line; the container runtime receives it, on the clock of the same node; the
operator receives it, on its own clock, perhaps late but at most `Sighting.delay` late. So a stamp that differs from the
runtime's time is the program's doing, and a runtime's time that differs from the operator's by more than at the start
means that the clock of the node has stepped. Whatever nobody saw at the time, such as a log that was there when the
operator started, proves nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import NamedTuple

from podium.api import Reason
from podium.mllog import LogSummary, Sighting, Sightings

# A line cannot be printed before the time that it is stamped with; two readings of one clock differ by milliseconds.
AHEAD_SECONDS = 0.5
# It may be printed a little later: rank 0 is busy, or its output is passed on by another program.
BEHIND_SECONDS = 2.0
BEHIND_RATIO = 0.01  # of the time between run_start and run_stop
# Clocks of nodes are slewed by up to 0.05 %, and what is on its way to the operator may be held up for a moment.
STEP_SECONDS = 2.0
STEP_RATIO = 0.001
# Two lines that are seen with the same difference of the clocks were not held up, unless both were, by the same time.
SAME_SECONDS = 0.5
APART_SECONDS = 1.0
WITNESSED_STEP_SECONDS = 6.0  # an API server in trouble holds everything up by seconds
# The clocks of the machines on which the operator ran before and after a restart may differ by as much.
MACHINES_SECONDS = 300.0
_OFFSET_SECONDS = 5.0  # of a node's clock from the operator's that is worth a note
_CURRENT_SECONDS = 60.0  # a line that may have been received later than this says little about the offset


class _Offset(NamedTuple):
    """By how many seconds the node's clock is ahead of the operator's, at least and at most."""

    least: float
    most: float


def clock_fault(summary: LogSummary, sightings: Sightings) -> tuple[Reason, str] | None:
    """Return why the time between run_start and run_stop is not what the log says; None if nothing contradicts it."""
    start, stop = sightings.start(summary.run_start), sightings.stop(summary.run_stop)
    if start is None:
        return None
    lines = [start, *sightings.evaluations_of(summary), *([stop] if stop else [])]
    if text := _stamped_wrongly(start, stop, lines):
        return Reason.CLOCK_INVALID, text
    if stop and (text := _stepped(start, stop, lines)):
        return Reason.NODE_CLOCK_STEPPED, text
    return None


def received_in_disorder(summary: LogSummary, sightings: Sightings) -> str:
    """Say which line was received before one that was printed earlier, which no stream does; "" if none was."""
    start, stop = sightings.start(summary.run_start), sightings.stop(summary.run_stop)
    evaluations = _in_place(sightings.evaluations_of(summary), stop)
    pairs = list(pairwise([*([start] if start else []), *evaluations]))
    if stop and stop.printed is not None:  # some programs evaluate after it
        pairs += [(one, stop) for one in evaluations if one.printed is not None and one.printed <= stop.printed]
    for one, after in pairs:
        certain = AHEAD_SECONDS if one.observer == after.observer else MACHINES_SECONDS
        if (early := -(_between(one.received, after.received) or 0.0)) > certain:
            return f"{after.key} was received {early:.1f} s before {one.key}, which the log has above it"
    return ""


def _stamped_wrongly(start: Sighting, stop: Sighting | None, lines: Sequence[Sighting]) -> str:
    """Say which line has a stamp that is not the time at which it was printed; "" if none has.

    Evaluations may be printed later than they were made: some programs evaluate beside the training.
    """
    ahead = max(lines, key=lambda one: _difference(one) or 0.0)
    late = [one for one in (start, stop) if one]
    behind = min(late, key=lambda one: _difference(one) or 0.0)
    seen = _between(start.printed, stop.printed) if stop else None
    if (difference := _difference(ahead) or 0.0) > AHEAD_SECONDS:
        worst, how = ahead, f"{difference:.1f} s before its stamp"
    elif -(difference := _difference(behind) or 0.0) > max(BEHIND_SECONDS, BEHIND_RATIO * (seen or 0.0)):
        worst, how = behind, f"{-difference:.1f} s after its stamp"
    else:
        return ""
    logged = _between(start.stamp, stop.stamp) if stop else None
    both = "" if logged is None or seen is None else f"the log says {logged:.1f} s, the operator saw {seen:.1f} s; "
    return (
        f"{both}{worst.key} arrived {how} ({_clock(worst.printed)} instead of {_clock(worst.stamp)}): print each line "
        "at the time that it is stamped with, by the node's clock, and flush it"
    )


def _stepped(start: Sighting, stop: Sighting, lines: Sequence[Sighting]) -> str:
    """Say how the clock of the node stepped between run_start and run_stop; "" if nothing shows that it did.

    A clock that was set back and then right again does no harm if the operator saw as much time pass as the log says.
    """
    on_node, seen = _between(start.printed, stop.printed), _between(start.received, stop.received)
    if on_node is None or seen is None:
        return ""
    slack = STEP_RATIO * max(0.0, seen) + (STEP_SECONDS if start.observer == stop.observer else MACHINES_SECONDS)
    before, after = _offsets(lines), _offsets(lines[::-1])
    step = _moved(before, after, slack)
    delays = (start.delay, stop.delay)
    if not step and start.observer == stop.observer:
        slack += WITNESSED_STEP_SECONDS - STEP_SECONDS
        delays = (_witnessed(start, lines), _witnessed(stop, lines))
        likely = _offset(start, delays[0]), _offset(stop, delays[1])
        step = _moved(_both(before, likely[0]) or likely[0], _both(after, likely[1]) or likely[1], slack)
    if not step and (None in delays or sum(delay or 0.0 for delay in delays) > WITNESSED_STEP_SECONDS):
        step = min(_backwards(lines), default=0.0)
    if not step:
        return ""
    return (
        f"the clock of the node was set {'ahead' if step > 0 else 'back'} by {abs(step):.1f} s or more between "
        f"run_start and run_stop: the log says {stop.stamp - start.stamp:.1f} s, the operator saw {seen:.1f} s"
    )


def _moved(before: _Offset, after: _Offset, slack: float) -> float:
    """Return by how much an offset has changed at least, in seconds; 0.0 if that is within `slack`."""
    if after.least - before.most > slack:
        return after.least - before.most
    if before.least - after.most > slack:
        return after.most - before.least
    return 0.0


def _offsets(lines: Sequence[Sighting]) -> _Offset:
    """Return the offset that the first line shows, and all lines after it up to one that contradicts them.

    Each line that was received late bounds it from one side or the other, so that together they show more than each.
    """
    known = _offset(lines[0], lines[0].delay)
    for one in lines[1:]:
        if one.printed is None or one.received is None or one.observer != lines[0].observer:
            continue
        shown = _offset(one, one.delay)
        if (both := _both(known, shown)) is None:
            break
        known = both
    return known


def _both(one: _Offset, other: _Offset) -> _Offset | None:
    """Return what two bounds say together; None if they contradict each other."""
    least, most = max(one.least, other.least), min(one.most, other.most)
    return _Offset(least, most) if least <= most else None


def _offset(one: Sighting, delay: float | None) -> _Offset:
    least = (one.printed or 0.0) - (one.received or 0.0)
    return _Offset(least, math.inf if delay is None else least + delay)


def _witnessed(one: Sighting, lines: Sequence[Sighting]) -> float | None:
    """Return the delay of a line at most: little if another line, received at another time, shows the same offset.

    After a step every line shows the new offset, or was held up: one between the two that shows less proves that they
    were held up. Where lines were held up by different times, two may agree by chance, so that it takes a third.
    """
    place, ahead, agreeing = lines.index(one), _between(one.received, one.printed), 0
    needed = 2 if _is_uneven(one, lines) else 1
    for at, other in enumerate(lines):
        apart, shown = _between(one.received, other.received), _between(other.received, other.printed)
        if other.observer != one.observer or ahead is None or apart is None or shown is None:
            continue
        between = (_between(line.received, line.printed) for line in lines[min(at, place) : max(at, place)])
        held_up = any(each is not None and each > ahead + SAME_SECONDS for each in between)
        if abs(apart) >= APART_SECONDS and abs(shown - ahead) <= SAME_SECONDS and not held_up:
            agreeing += 1
    return min(one.delay or SAME_SECONDS, SAME_SECONDS) if agreeing >= needed else one.delay


def _is_uneven(one: Sighting, lines: Sequence[Sighting]) -> bool:
    """Return whether another line was held up longer than `one` was."""
    offsets = [_between(line.received, line.printed) for line in lines if line.observer == one.observer]
    ahead = _between(one.received, one.printed)
    return any(other is not None and ahead is not None and other < ahead - SAME_SECONDS for other in offsets)


def _backwards(lines: Sequence[Sighting]) -> Iterator[float]:
    """Yield the steps (negative, in seconds) by which lines were printed before those that were received earlier."""
    seen = [line for line in lines if line.printed is not None and line.received is not None]
    for one, after in pairwise(_in_place(seen, lines[-1])):
        certain = AHEAD_SECONDS if one.observer == after.observer else MACHINES_SECONDS
        gap = (after.printed or 0.0) - (one.printed or 0.0)
        if gap < -certain:
            yield gap


def _in_place(lines: Iterable[Sighting], stop: Sighting | None) -> list[Sighting]:
    """Return the lines without those that reads had left out, and that were found once run_stop had been received.

    Such a line stands behind all others, and nobody can say how late it is.
    """
    ended = stop.received if stop else None
    return [
        one for one in lines if one.delay is not None or one.received is None or one.received <= (ended or math.inf)
    ]


def node_clock_offset(sightings: Sightings) -> float | None:
    """Return by how many seconds the node's clock is ahead of the operator's; None if no line shows it.

    It may be more by as much as the line was received late.
    """
    bounds = _offset_bounds(sightings)
    return None if bounds is None else round(bounds.least, 3)


def _offset_bounds(sightings: Sightings) -> _Offset | None:
    """Return the offset that the line shows that was received with the least delay."""
    known = [one for one in sightings if one.printed and one.received and one.delay is not None]
    best = min(known, key=lambda one: one.delay or 0.0, default=None)
    if best is None or (best.delay or 0.0) > _CURRENT_SECONDS:
        return None
    return _offset(best, best.delay)


def clock_notes(sightings: Sightings) -> list[str]:
    """Return what is odd about the clock of the node although the time of the attempt is right, for attempt.json.

    A line that was received late is no sign of a wrong clock.
    """
    least, most = _offset_bounds(sightings) or (0.0, 0.0)
    if least > _OFFSET_SECONDS:
        offset, way = least, "ahead of"
    elif most < -_OFFSET_SECONDS:
        offset, way = -most, "behind"
    else:
        return []
    return [f"the clock of rank 0's node is {offset:.1f} s or more {way} the operator's: check its NTP service"]


def _difference(one: Sighting) -> float | None:
    """Return by how many seconds a line is stamped later than it was printed."""
    return None if one.printed is None else one.stamp - one.printed


def _between(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else other - one


def _clock(at: float | None) -> str:
    try:
        return datetime.fromtimestamp(at or 0.0, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return f"{at}"
