"""Judges the outcome of a run from its log; shared by all commands and the operator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from podium.api import AttemptState, Reason
from podium.mllog import LogSummary, Rate, seconds
from podium.rules.catalog import RuleId
from podium.rules.evidence import CLOCK_TOLERANCE, evidence
from podium.rules.findings import Finding
from podium.rules.goal import Goal, canonical

_WHOLE_LOG = "log the whole attempt, from its first line to its last, without editing it"
# A run that did not converge, and says so, breaks no rule: the score may drop one such run as the slowest.
_HONEST = frozenset({RuleId.LOG_QUALITY, RuleId.LOG_RUN_STOP_STATUS, RuleId.LOG_EVAL_RESULT_MISSING})


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a run; `message` gives the cause in a sentence.

    `rate` is what was measured instead, if the goal asks for it. `seconds` is the time to train, None if nothing was
    timed. An invalid run has one only if everything but its
    initialization was valid.

    `findings` are the problems of the log. If the run did not converge, the first one is the cause. A converged run may
    have findings as well.
    """

    reason: Reason
    seconds: float | None
    message: str
    findings: tuple[Finding, ...] = ()
    rate: Rate | None = None

    @property
    def state(self) -> AttemptState:
        assert self.reason.state is not None, f"{self.reason} does not apply to attempts"
        return self.reason.state

    @property
    def keeps_place(self) -> bool:
        """Whether the score counts the time although the run broke a rule; see scoring.olympic."""
        return self.reason.keeps_place and self.seconds is not None

    @property
    def converged(self) -> bool:
        return self.state is AttemptState.CONVERGED

    @property
    def text(self) -> str:
        """The message and every breach with its remedy, for a status."""
        breaches = [f"{finding.message}; {finding.remedy}" for finding in self.breaches]
        is_included = any(finding.message == self.message for finding in self.breaches)
        return "; ".join(breaches if is_included else [self.message, *breaches])

    @property
    def breaches(self) -> tuple[Finding, ...]:
        """The findings that break a rule: all but the admission that the run did not converge."""
        return tuple(finding for finding in self.findings if finding.rule not in _HONEST)


@dataclass(frozen=True, slots=True)
class _Fault:
    """Why a run did not converge: a reason, and its finding, which some open logs do not get."""

    reason: Reason
    rule: str
    message: str
    remedy: str
    line: int | None = None
    is_finding: bool = True


def judge(summary: LogSummary, goal: Goal, where: str = "log") -> Verdict:
    """Return the outcome of one log; findings name `where` as their place. These rules apply in order:

    1. A log without MLPerf lines measures nothing (Failed).
    2. A log for another benchmark of the round is Invalid.
    3. run_start and run_stop must exist, with the stop after the start (MLCommons' checker: ``EXACTLY_ONE``, and
       ``s['run_started']`` for run_stop), otherwise Invalid. What is timed lies between them: no block or epoch
       starts before run_start, and the evaluation that passes is not after run_stop, unless models are evaluated after
       the clock stops. Of 21,795 published logs, 4 break this.
    4. v0.6 MiniGo is timed by eval_result, and a run_stop comes late or never; without an eval_result above 0 no model
       passed (training_0.6.0/minigo.yaml), and the run did not converge.
    5. Closed runs must initialize in less than the round's limit, from the first init_start to init_stop (checker:
       ``ll.timestamp - s['first_init_start'] < 20*60``; 30 minutes since v1.0), otherwise Invalid. Of 20,132 published
       logs, 3 did not; their times still count: `Verdict.keeps_place`.
    6. The evaluations decide on convergence, regardless of run_stop; NaN and impossible values reach no target. Without
       a target, or without evaluations if these come after the clock stops, run_stop decides.
    7. A run that gave up did not converge, regardless of its evaluations (v0.6 checker: ``status == 'success'``).

    If a second run was appended to the log of one that died, the second is judged, and a finding says so. What the log
    says against itself and against all published ones are findings, too: see `evidence`.
    """
    if goal.window and (found := _measured_rate(summary, goal)):
        return found
    time = seconds(summary, goal.timed_by)
    if summary.lines == 0:
        fault: _Fault | None = _Fault(
            Reason.NO_MLPERF_LOG, RuleId.LOG_EMPTY, "no line can be read as an MLPerf line", _WHOLE_LOG
        )
    else:
        fault = _other_benchmark(summary, goal) or _untimed(summary, goal, time)
        fault = fault or _long_init(summary, goal) or _not_converged(summary, goal)
    also = (*_repeated(summary, where), *evidence(summary, goal, where))
    if fault is None:
        return Verdict(Reason.TARGET_REACHED, time, _measured(summary, goal), also)
    finding = Finding(fault.rule, where, fault.message, fault.line, fault.remedy)
    if fault.reason.state is AttemptState.INVALID and not (
        fault.reason.keeps_place and _not_converged(summary, goal) is None
    ):
        time = None
    return Verdict(fault.reason, time, fault.message, (finding, *also) if fault.is_finding else also)


def _measured_rate(summary: LogSummary, goal: Goal) -> Verdict | None:
    """Return the verdict on the rate; None if the log is not that of a run that began: then it is judged as any log."""
    if summary.run_start is None or _other_benchmark(summary, goal):
        return None
    rate = goal.rate(summary)
    if rate is None or not (rate.is_whole or summary.run_stop is not None):
        trained = "nothing" if rate is None else f"{rate.trained:g} samples in {rate.seconds:.0f} s"
        message = f"the log ends before spec.measure is over: it shows {trained} after the warm-up"
        return Verdict(Reason.RATE_UNKNOWN, None, message)
    message = f"{rate.per_second:.5g} samples per second, over {rate.seconds:.0f} s of training"
    if not rate.is_whole:
        message += "; the program ended before spec.measure was over"
    return Verdict(Reason.RATE_MEASURED, None, message, rate=rate)


def _other_benchmark(summary: LogSummary, goal: Goal) -> _Fault | None:
    named = canonical(summary.benchmark or "")
    if named not in goal.other_benchmarks:
        return None
    message, remedy = f"the log is for {named}, not for {goal.benchmark}", "move it to the folder of its benchmark"
    return _Fault(Reason.BENCHMARK_MISMATCH, RuleId.LOG_BENCHMARK, message, remedy)


def _untimed(summary: LogSummary, goal: Goal, time: float | None) -> _Fault | None:
    """Return the fault of a clock line that is missing or out of place."""
    if summary.run_start is None:
        message, remedy = "the log has no run_start line", "print it when the clock starts"
        return _Fault(Reason.RUN_START_MISSING, RuleId.LOG_RUN_START_MISSING, message, remedy)
    if goal.timed_by == "eval_result":
        if time is not None:
            return None
        message = "no eval_result with a timestamp above 0: no model passed"
        remedy = "log eval_result with metadata.timestamp, in seconds since run_start, when a model passes"
        line = summary.line_numbers.get("eval_result")
        return _Fault(Reason.EVAL_RESULT_MISSING, RuleId.LOG_EVAL_RESULT_MISSING, message, remedy, line)
    if summary.run_stop is None:
        message = "the log ends without a run_stop line"
        remedy = "print it when the target is reached or the run gives up"
        return _Fault(Reason.RUN_STOP_MISSING, RuleId.LOG_RUN_STOP_MISSING, message, remedy)
    return _disordered(summary, goal, summary.run_start, summary.run_stop)


def _disordered(summary: LogSummary, goal: Goal, start: float, stop: float) -> _Fault | None:
    """Return the fault of a clock that does not cover the run."""
    line = summary.line_numbers.get("run_stop")
    if summary.out_of_order:
        message = "run_stop does not come after run_start"
        return _Fault(Reason.CLOCK_INVALID, RuleId.LOG_CLOCK_BACKWARDS, message, "log both once, with one clock", line)
    passed = None if goal.evaluated_offline else goal.reached(summary)
    if passed and passed.time > stop + CLOCK_TOLERANCE:
        message = f"run_stop is {passed.time - stop:.1f} s before the evaluation that reaches the target"
        remedy = "log run_stop after the evaluation that reaches the target"
        return _Fault(Reason.CLOCK_INVALID, RuleId.LOG_CLOCK_STOP, message, remedy, line)
    if summary.training_start and summary.training_start < start - CLOCK_TOLERANCE:
        message = f"training starts {start - summary.training_start:.1f} s before run_start"
        line = summary.line_numbers.get("training_start")
        return _Fault(Reason.CLOCK_INVALID, RuleId.LOG_CLOCK_START, message, "start the clock before training", line)
    return None


def _long_init(summary: LogSummary, goal: Goal) -> _Fault | None:
    if not goal.max_init_seconds or summary.init_start is None:
        return None
    init = (summary.init_stop or summary.run_start or summary.init_start) - summary.init_start
    if init < goal.max_init_seconds:
        return None
    message = f"{init:.0f} s between init_start and init_stop; the round allows less than {goal.max_init_seconds} s"
    line = summary.line_numbers.get("init_stop")
    return _Fault(
        Reason.INIT_TOO_LONG, RuleId.LOG_INIT_CAP, message, "start the clock earlier, or initialize faster", line
    )


def _not_converged(summary: LogSummary, goal: Goal) -> _Fault | None:
    status = summary.run_stop_status
    claims = status == "success"
    verifiable = bool(goal.qualities) and (bool(summary.evaluations) or goal.timed_by == "run_stop")
    if verifiable and goal.reached(summary) is None:
        line = summary.line_numbers.get("eval_accuracy")
        if claims:
            message = f"{_measured(summary, goal)}, although run_stop says success"
            rule, remedy = RuleId.LOG_QUALITY_CLAIM, "log the status success only when the target is reached"
        else:
            message = _measured(summary, goal) + (f"; run_stop says {status!r}" if status else "")
            rule, remedy = RuleId.LOG_QUALITY, "the attempt did not converge; log eval_accuracy after each evaluation"
        return _Fault(Reason.QUALITY_NOT_REACHED, rule, message, remedy, line, is_finding=goal.binding)
    if status is None or claims:
        return None
    line = summary.line_numbers.get("run_stop")
    despite = " although the target was reached" if verifiable else ""
    remedy = "log run_stop with status success when the target is reached"
    return _Fault(Reason.RUN_ABORTED, RuleId.LOG_RUN_STOP_STATUS, f"run_stop says {status!r}{despite}", remedy, line)


def _measured(summary: LogSummary, goal: Goal) -> str:
    if summary.evaluations:
        quality = f"quality {goal.render(summary, summary.evaluations[-1])}"
    elif summary.not_numbers:
        count = summary.not_numbers
        quality = (
            f"{count} evaluations, none of which is a number" if count > 1 else "1 evaluation, which is not a number"
        )
    else:
        quality = "no evaluation"
    return f"{quality}, target {goal.text}" if goal.qualities else quality


def _repeated(summary: LogSummary, where: str) -> Iterator[Finding]:
    """Yield findings on repeated clock lines: only global rank 0 must log the clock, once; the checker allows more."""
    starts, stops = summary.run_start_count, summary.run_stop_count
    remedy = "log it from global rank 0 only, and keep each attempt in its own file"
    if starts > 1:
        message = f"{starts} run_start and {stops} run_stop lines; a second run was appended, or several ranks log"
        yield Finding(RuleId.LOG_RUN_START_REPEATED, where, message, summary.line_numbers.get("run_start"), remedy)
    elif stops > 1:
        message = f"{stops} run_stop lines; the latest one counts"
        yield Finding(RuleId.LOG_RUN_STOP_REPEATED, where, message, summary.line_numbers.get("run_stop"), remedy)
