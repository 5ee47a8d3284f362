"""From what a log says to the outcome of its run."""

from __future__ import annotations

from dataclasses import dataclass

from podium.mllog import LogSummary, reached, seconds
from podium.rounds import Benchmark, targets
from podium.scoring.olympic import RunOutcome


@dataclass(frozen=True, slots=True)
class Verdict:
    """`cause` says why a run did not converge; `rule` is the id of the rule that its log breaks, if it does."""

    outcome: RunOutcome
    seconds: float | None = None
    cause: str = ""
    rule: str = ""


def judge(log: LogSummary, benchmark: Benchmark) -> Verdict:
    """The outcome of one published log.

    The status in run_stop may only make it worse: the quality is read off the evaluations wherever the round's
    target is known and the log holds any. An aborted run has failed, whatever its clock says.
    """
    if log.lines == 0:
        return Verdict(RunOutcome.INVALID, None, "no line of it can be read as an MLPerf line", "log.empty")
    time = seconds(log, benchmark.timed_by)
    if time is None:
        return _untimed(log, benchmark.timed_by)
    if log.run_stop_status not in (None, "success"):
        return Verdict(RunOutcome.NOT_CONVERGED, time, f"run_stop says {log.run_stop_status}")
    lower = [quality.metric for quality in benchmark.quality if quality.lower_is_better]
    unverifiable = not benchmark.quality or (benchmark.timed_by == "eval_result" and not log.evaluations)
    if unverifiable or reached(log, targets(benchmark), lower):
        return Verdict(RunOutcome.CONVERGED, time)
    goal = "/".join(f"{quality.target:g}" for quality in benchmark.quality)
    last = "/".join(f"{v:.4g}" for v in log.evaluations[-1].quality.values()) if log.evaluations else "no evaluation"
    claims = log.run_stop_status == "success"
    cause = f"quality {last}, target {goal}" + (", although run_stop says success" if claims else "")
    return Verdict(RunOutcome.NOT_CONVERGED, time, cause, "log.quality.claim" if claims else "")


def _untimed(log: LogSummary, timed_by: str) -> Verdict:
    if timed_by == "eval_result":
        return Verdict(RunOutcome.NOT_CONVERGED, None, "no eval_result tells when the target was reached")
    if log.run_start is None or log.run_stop is None:
        missing = "run_start" if log.run_start is None else "run_stop"
        return Verdict(RunOutcome.INVALID, None, f"it has no {missing} line", f"log.{missing}.missing")
    return Verdict(RunOutcome.INVALID, None, "run_stop comes before run_start", "log.clock.backwards")
