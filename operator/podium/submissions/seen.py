"""Compare a log with when its lines were seen, and with the life of its containers, as attempt.json has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from podium.api import AttemptState
from podium.mllog import LogSummary, Sightings
from podium.rules import clock_fault, node_clock_offset, received_in_disorder
from podium.rules.catalog import RuleId
from podium.submissions.differences import mapping, number, read_sightings, shown

_TOLERANCE_SECONDS = 2.0  # the kubelet reports starts and ends of containers in whole seconds
_OFFSET_SECONDS = 0.002  # times are stored in milliseconds

Found = tuple[RuleId, str]


def about_seen(
    seen: Mapping[str, Any], summary: LogSummary, state: object, log: str, *, of_fewer_lines: bool = False
) -> Iterator[Found]:
    """Compare the stamps in the log with when the operator saw its lines; `state` is that of the try.

    `of_fewer_lines`: the log was stored before, by a process that had read more of it than the one that saw these.
    An attempt that this one found to converge has at least the lines of the clock.
    """
    if not seen:
        return
    sightings = read_sightings(seen)
    lacks_some = sightings == Sightings() or (of_fewer_lines and state != AttemptState.CONVERGED)
    for one, stamp in (("runStart", summary.run_start), ("runStop", summary.run_stop)):
        claimed = mapping(seen.get(one)).get("logged")
        if claimed != stamp and not (claimed is None and lacks_some):
            message = f"seen.{one}.logged is {shown(claimed)} here, {shown(stamp)} in {log}"
            yield RuleId.REVIEW_CONTRADICTION, message
    fault = clock_fault(summary, sightings)
    if fault and state in (AttemptState.CONVERGED, AttemptState.NOT_CONVERGED):
        yield RuleId.REVIEW_SEEN, f"{state}, although {fault[1]}"
    elif disorder := not fault and received_in_disorder(summary, sightings):
        yield RuleId.REVIEW_SEEN, disorder
    if message := _evaluations(seen, summary, sightings, log, of_fewer_lines=of_fewer_lines):
        yield RuleId.REVIEW_CONTRADICTION, message
    if len({(one.printed is None, one.received is None) for one in sightings}) > 1:
        yield RuleId.REVIEW_CONTRADICTION, "some lines were seen at a time, and others at none"
    claimed, found = seen.get("nodeClockOffsetSeconds"), node_clock_offset(sightings)
    once = summary.run_start_count <= 1 and summary.run_stop_count <= 1  # else lines are not here that showed it
    if once and not _is_same(claimed, found):
        message = f"seen.nodeClockOffsetSeconds is {shown(claimed)}, and the lines show {shown(found)}"
        yield RuleId.REVIEW_CONTRADICTION, message


def _is_same(claimed: object, found: float | None) -> bool:
    given = number(claimed)
    if given is None or found is None:
        return claimed is None and found is None
    return abs(given - found) <= _OFFSET_SECONDS


def _evaluations(
    seen: Mapping[str, Any], summary: LogSummary, sightings: Sightings, log: str, *, of_fewer_lines: bool
) -> str:
    """Return how many evaluations were seen, if the log has others."""
    stamps, evaluations = {e.time for e in summary.evaluations}, sightings.evaluations_of(summary)
    missing = [one for one in evaluations if one.stamp not in stamps]
    count, left_out = len(evaluations), number(seen.get("evaluationsLeftOut")) or 0
    one_each = not summary.not_numbers and all(len(e.quality) == 1 for e in summary.evaluations)
    if count < len(sightings.evaluations) and left_out:  # of which run those are is not known
        left_out = len(summary.evaluations) - count
    if not one_each or not (missing or (count + left_out != len(summary.evaluations) and not of_fewer_lines)):
        return ""
    return f"{count} evaluations were seen and {left_out:g} left out; {log} has {len(summary.evaluations)}"


def about_pods(pods: Sequence[Mapping[str, Any]], seen: Mapping[str, Any]) -> Iterator[str]:
    """Compare what is said about the end of each container with itself, and of rank 0's with its lines."""
    for pod in pods:
        node, code, stopped = pod.get("nodeIndex"), number(pod.get("exitCode")), pod.get("stopped")
        how = f"exit code {shown(pod.get('exitCode'))}, {shown(stopped)}"
        if (stopped == "Completed" and code != 0) or (stopped == "Error" and code == 0):
            yield f"the container of node {node} ended with {how}"
        signal = number(pod.get("signal"))
        if signal is not None and code != 128 + signal:
            yield f"the container of node {node} ended with {how}, and by signal {signal:g}"
        if is_early(pod.get("finished"), pod.get("started")):
            yield f"the container of node {node} ended before it started"
    rank0 = next((pod for pod in pods if pod.get("nodeIndex") == 0), {})
    if any(is_early(rank0.get("finished"), one.printed) for one in read_sightings(seen)):
        yield "a line was printed after the end of rank 0's container"


def is_early(one: object, other: object) -> bool:
    """Return whether `one` comes before `other` by more than their clocks explain."""
    a, b = number(one), number(other)
    return a is not None and b is not None and b - a > _TOLERANCE_SECONDS
