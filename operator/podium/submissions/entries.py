"""Score the logs of an entry and find what is wrong with it. All functions are pure."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from podium.api import AttemptState, Measure, Reason
from podium.mllog import Format, LogSummary, Window
from podium.rounds import DEFAULT_RUNS, Benchmark, Quality, Round, round_at
from podium.rules import Finding, Goal, Verdict, canonical, goal_of_log, judge, window_of
from podium.rules.catalog import RuleId
from podium.scoring import Rule, Score, TimedAttempt, rule_of, score
from podium.submissions.scaling import Asked, scaling_of
from podium.submissions.systems import chips
from podium.submissions.together import about_files, copies, uneven_pace
from podium.submissions.tree import BETWEEN, Folder, Log

_MAX_MESSAGE = 2000
# What the operator saw of an attempt and its log does not show.
_SEEN_OUTSIDE = frozenset(
    {Reason.RUN_DEADLINE_EXCEEDED, Reason.CLOCK_INVALID}
    | {reason for reason in Reason if reason.state in (AttemptState.FAILED, AttemptState.ABORTED)}
)
_WRONG_CLOCK = frozenset({Reason.CLOCK_INVALID, Reason.NODE_CLOCK_STEPPED})  # whatever the log says


@dataclass(frozen=True, slots=True)
class ScoredResult:
    """One scored entry. `minutes` includes the scaling factor and is None when the result is invalid.

    `findings` are faults; `notes` say what was assumed, or left out as the rules allow.
    """

    round: str
    org: str
    system: str
    benchmark: str
    path: str
    rule: Rule
    score: Score
    verdicts: Mapping[int, Verdict]  # by attempt
    logs: Mapping[int, LogSummary]
    scaling: float
    findings: tuple[Finding, ...]
    together: tuple[Finding, ...]  # those that are about no single log; they are among `findings`
    notes: tuple[str, ...]
    rules: Benchmark
    goal: Goal
    first_epoch: int
    model_creation_timed: bool
    chips: int | None

    @property
    def target(self) -> dict[str, float]:
        """Target by metric."""
        return self.goal.targets

    @property
    def samples_per_second(self) -> float | None:
        """The rate of a run with spec.measure: the geometric mean of its attempts; None if one has none."""
        rates = [None if v.rate is None else v.rate.per_second for v in self.verdicts.values()]
        known = [rate for rate in rates if rate]
        return statistics.geometric_mean(known) if known and len(known) == len(rates) else None

    @property
    def minutes(self) -> float | None:
        return None if self.score.minutes is None else self.score.minutes * self.scaling

    def document(self) -> dict[str, Any]:
        """As printed by ``--json``; times are minutes."""
        return {
            "round": self.round,
            "org": self.org,
            "system": self.system,
            "benchmark": self.benchmark,
            "chips": self.chips,
            "path": self.path,
            "runs": len(self.verdicts),
            "failed": self.score.failures,
            "scaling": self.scaling,
            "minutes": None if self.minutes is None else round(self.minutes, 6),
            **({"samplesPerSecond": round(rate, 6)} if (rate := self.samples_per_second) else {}),
            "valid": self.score.valid,
            "official": self.score.official,
            "coefficientOfVariation": self.score.coefficient_of_variation,
            "times": {
                str(i): None if v.seconds is None else round(v.seconds / 60, 6) for i, v in self.verdicts.items()
            },
            "verdicts": {str(i): {"state": str(v.state), "reason": str(v.reason)} for i, v in self.verdicts.items()},
            "dropped": list(self.score.dropped),
            "designated": list(self.score.designated),
            "findings": [finding.document() for finding in self.findings],
            "notes": list(self.notes),
        }


def score_folder(
    folder: Folder, rounds: Mapping[str, Round], asked_round: str | None = None, division: str | None = None
) -> ScoredResult:
    """Score the logs of one folder by the rules of `asked_round`, or else of the round that they belong to.

    They are held to `division`, or else to the division that the result or the log names.
    """
    name = _benchmark(folder, rounds)
    round_name, how = _round(folder, name, rounds, asked_round)
    round_ = rounds.get(round_name)
    known = round_.benchmarks.get(name) if round_ else None
    is_own_open = folder.result.get("division") == "open"
    own_target = is_own_open and bool(_own_target(folder))
    benchmark = known or _unknown(folder)
    if known and is_own_open:
        benchmark = known.model_copy(update={"quality": _own_target(folder, known) or known.quality})
    window = _window(folder)
    goal_of = partial(goal_of_log, name, benchmark, round_, own_target=own_target, window=window)
    goals = {log.index: goal_of(division_of(folder, log, division)) for log in folder.logs}
    verdicts = _verdicts(folder, goals)
    rule = rule_of(benchmark)
    result = _score(folder, verdicts, rule)
    result = replace(result, official=result.official and not is_own_open)
    goal = goal_of(division or "closed")
    counted = {index: verdict for index, verdict in verdicts.items() if result.counts(index)}
    scaling, together = _together(folder, (round_name, name, benchmark), goal, counted, division)
    findings = [
        *_about_rules(folder, known, name, round_name, rounds),
        *_about_logs(folder, verdicts, result),
        *(() if window else _about_score(result, folder.path or ".")),
        *together,
    ]
    notes = [
        how, _earlier_round(folder, round_name, name, rounds), _designated(result, rule),
        _in_later_format(folder, round_), _unofficial(is_own_open, window),
        *(_left_out(_unconverged(folder, verdicts)) if result.valid else ()),
    ]  # fmt: skip
    return ScoredResult(
        round=round_name,
        org=_org(folder, [log.summary for log in folder.logs]),
        system=_system(folder, name),
        benchmark=name,
        path=folder.path,
        rule=rule,
        score=result,
        verdicts=verdicts,
        logs={log.index: log.summary for log in folder.logs},
        scaling=scaling,
        findings=tuple(findings),
        together=tuple(together),
        notes=tuple(filter(None, notes)),
        rules=benchmark,
        goal=goal,
        first_epoch=round_.first_epoch if round_ and _in_format_of(round_, folder) else 1,
        model_creation_timed=round_.clock.model_creation_timed if round_ else False,
        chips=chips(folder),
    )


def _unofficial(is_own_open: bool, window: Window | None) -> str:
    if window:
        return "not official: spec.measure asks for the rate, not for the time to train"
    return "not official: the open division has its own targets and models" if is_own_open else ""


def _window(folder: Folder) -> Window | None:
    """The window in which a result of Podium's measures the rate; None if it is of times to train."""
    try:
        return window_of(Measure.model_validate(folder.result["measure"]))
    except (LookupError, ValueError, TypeError):
        return None


def _in_format_of(round_: Round, folder: Folder) -> bool:
    """Whether the logs are in the round's format: Podium's own are in that of v0.7, which counts epochs from 1."""
    return any(log.summary.format == round_.log_format for log in folder.logs)


def _in_later_format(folder: Folder, round_: Round | None) -> str:
    """A sentence if tools of the round's time cannot read the logs of Podium's trainers, else ""."""
    if not folder.result or round_ is None or round_.log_rules is None or _in_format_of(round_, folder):
        return ""
    return (
        f"the logs are in the format of v0.7, which MLCommons' tools for {round_.name} do not read; Podium checks what "
        "both formats have"
    )


def _together(
    folder: Folder,
    of: tuple[str, str, Benchmark],
    goal: Goal,
    counted: Mapping[int, Verdict],
    division: str | None,
) -> tuple[float, list[Finding]]:
    """The scaling factor, and the findings about all logs together; `of` is the round, the benchmark and its rules."""
    round_, benchmark, rules = of
    divisions = {division_of(folder, log, division) for log in folder.logs}
    counts = [
        goal.converged_after(log.summary) if counted[log.index].converged else None
        for log in folder.logs
        if log.index in counted
    ]
    asked = Asked(round_, benchmark, rules, divisions, [log.summary for log in folder.logs], counts)
    scaling, wrong = scaling_of(folder, asked)
    usual = goal.published if divisions != {"open"} else None
    return scaling, [*about_files(folder), *copies(folder.logs), *uneven_pace(folder.logs, usual), *wrong]


def _verdicts(folder: Folder, goals: Mapping[int, Goal]) -> dict[int, Verdict]:
    """Judge each log; in Podium's own results, what the operator saw can only make the verdict worse."""
    verdicts, tries = {}, folder.last_tries
    for log in folder.logs:
        verdict, stored = judge(log.summary, goals[log.index], log.name), tries.get(log.index, {})
        reason = Reason.known(str(stored.get("reason")))
        if reason in _SEEN_OUTSIDE and (reason in _WRONG_CLOCK or not verdict.converged):
            message = str(stored.get("message") or verdict.message)[:_MAX_MESSAGE]
            verdict = replace(verdict, reason=reason, seconds=None, message=message)
        verdicts[log.index] = verdict
    return verdicts


def _score(folder: Folder, verdicts: Mapping[int, Verdict], rule: Rule) -> Score:
    """The olympic mean of the folder's logs."""
    runs = [
        TimedAttempt(log.index, _scored_as(folder, v), v.seconds, log.summary.run_start, v.keeps_place)
        for log in folder.logs
        if (v := verdicts[log.index])
    ]
    return score(runs, rule)


def _scored_as(folder: Folder, verdict: Verdict) -> AttemptState:
    """The state by which an attempt is scored: in a submission, a log without any MLPerf line did not converge.

    MLCommons' result_summarizer, too, drops a file that it cannot read as one of the slowest. In a result of Podium's
    such an attempt never ran, and the operator calls it unmeasured.
    """
    unmeasured = verdict.state is AttemptState.FAILED and not folder.result
    return AttemptState.INVALID if unmeasured else verdict.state


def _unconverged(folder: Folder, verdicts: Mapping[int, Verdict]) -> list[str]:
    """A sentence for each log that breaks no rule but did not converge."""
    judged = ((log, verdicts[log.index]) for log in folder.logs)
    return [f"{log.name}: {v.message}" for log, v in judged if not v.converged and not v.breaches]


def _about_logs(folder: Folder, verdicts: Mapping[int, Verdict], result: Score) -> Iterator[Finding]:
    for log in folder.logs:
        yield from _about(log, verdicts[log.index])
    if not result.valid and _window(folder) is None:
        for text in _unconverged(folder, verdicts):
            yield Finding(RuleId.SCORE_NOT_CONVERGED, folder.path or ".", text)
    for key, text in folder.unreadable:
        yield Finding(RuleId.SCORE_DOCUMENT, key, text, remedy="restore it; it was skipped")


def division_of(folder: Folder, log: Log, asked: str | None = None) -> str:
    """The division that a log is held to: `asked`, else the one in its result or in the log, else closed."""
    logged = log.summary.submission.get("division", "").strip().lower()
    return str(asked or folder.result.get("division") or logged or "closed")


def _about(log: Log, verdict: Verdict) -> list[Finding]:
    findings = list(verdict.breaches)
    if log.problem_count:
        first = log.problems[0]
        count = f" and {log.problem_count - 1} more lines" if log.problem_count > 1 else ""
        message = f"cannot be read: {first.cause}{count}"
        findings.append(Finding(RuleId.LOG_UNREADABLE, log.name, message, first.line_number, "see podium check"))
    return findings


def _left_out(failed: Sequence[str]) -> list[str]:
    if len(failed) > 5:
        return [f"{len(failed)} attempts did not converge and are left out"]
    return [f"{text}; counted as failed" for text in failed]


def _about_score(result: Score, place: str) -> Iterator[Finding]:
    """Findings about the score: why it is invalid, or that the number of attempts is wrong."""
    for reason in result.reasons:
        yield Finding(RuleId.SCORE_INVALID if reason.startswith("invalid:") else RuleId.SCORE_RUNS, place, reason)


def _earlier_round(folder: Folder, round_: str, benchmark: str, rounds: Mapping[str, Round]) -> str:
    """A note if all logs are older than the publication of the round before; "" if not, or if that is not known."""
    starts = [log.summary.run_start for log in folder.logs if log.summary.run_start]
    earlier = round_at(max(starts), benchmark, rounds) if starts and round_ in rounds else None
    names = list(rounds)
    if earlier not in names or names.index(earlier) >= names.index(round_):
        return ""
    return f"the logs are from the time of {earlier}: they may be results of that round"


def _designated(result: Score, rule: Rule) -> str:
    if not result.designated:
        return ""
    first, last = result.designated[0], result.designated[-1]
    return (
        f"scored are attempts {', '.join(map(str, result.designated))}: of all {rule.runs} consecutive ones, "
        f"those with the median score (from {first} to {last}, by start)"
    )


def _benchmark(folder: Folder, rounds: Mapping[str, Round]) -> str:
    """The benchmark according to the result, else the folder's name if it is one, else most of the logs."""
    known = {name for round_ in rounds.values() for name in round_.benchmarks}
    named = str(folder.result.get("benchmark") or "")
    by_folder = canonical(folder.place.benchmark)
    counted = Counter(canonical(log.summary.benchmark) for log in folder.logs if log.summary.benchmark)
    by_logs = counted.most_common(1)[0][0] if counted else ""
    return named or (by_folder if by_folder in known else by_logs or by_folder)


def _round(folder: Folder, benchmark: str, rounds: Mapping[str, Round], asked: str | None) -> tuple[str, str]:
    """The round, and a sentence if it was guessed."""
    if asked:
        return asked, ""
    if folder.result.get("round"):
        return str(folder.result["round"]), ""
    formats = Counter(log.summary.format for log in folder.logs if log.summary.format)
    format_ = formats.most_common(1)[0][0] if formats else None
    by_folder = rounds.get(folder.place.round)
    if by_folder and (format_ is None or by_folder.log_format == format_):
        return by_folder.name, ""
    if format_ in (Format.MLP, Format.MLL):
        return ("v0.5" if format_ is Format.MLP else "v0.6"), ""
    starts = [log.summary.run_start for log in folder.logs if log.summary.run_start]
    if not starts:
        return folder.place.round, ""
    guess = round_at(min(starts), benchmark, rounds) or ""
    return guess, f"taken for a result of {guess} by its date; set another round with --round"


def _unknown(folder: Folder) -> Benchmark:
    """Rules for a benchmark that the round does not have: ten attempts, and the target in Podium's result if any."""
    runs = folder.result.get("attempts")
    count = len({str(a.get("index")) for a in runs if isinstance(a, dict)}) if isinstance(runs, list) else DEFAULT_RUNS
    return Benchmark(title="", model="", dataset="", quality=_own_target(folder), runs=max(1, count), eval_every="")


def _own_target(folder: Folder, benchmark: Benchmark | None = None) -> tuple[Quality, ...]:
    """The targets in Podium's result of an open run; their direction is the benchmark's."""
    target = folder.result.get("target")
    known = {quality.metric: quality for quality in benchmark.quality} if benchmark else {}
    items = target.items() if isinstance(target, dict) else ()
    custom = Quality(metric="", target=0, bounded=False)
    return tuple(
        known.get(metric, custom).model_copy(update={"metric": str(metric), "target": float(value)})
        for metric, value in items
        if isinstance(value, int | float)
    )


def _about_rules(
    folder: Folder, known: Benchmark | None, name: str, round_name: str, rounds: Mapping[str, Round]
) -> Iterator[Finding]:
    """Say why the rules of the entry are not known, if they are not."""
    if folder.lacks_result:
        yield _lacking_result(folder)
    elif known is None and not folder.result:
        yield _unknown_finding(folder, name, round_name, rounds)


def _lacking_result(folder: Folder) -> Finding:
    message = "is missing: the run has not ended, or the file was removed"
    remedy = "wait for the end of the run, or restore the original: the round and its rules are not known without it"
    return Finding(RuleId.SCORE_DOCUMENT, folder.key("result.json"), message, remedy=remedy)


def _unknown_finding(folder: Folder, name: str, round_name: str, rounds: Mapping[str, Round]) -> Finding:
    round_ = rounds.get(round_name)
    has = f"{round_name} has {', '.join(round_.benchmarks)}" if round_ else f"{round_name or 'its round'} is not known"
    message = f"no rules for {name or 'a benchmark without a name'}: {has}"
    remedy = f"scored as {DEFAULT_RUNS} attempts, trusting run_stop; set the round with --round"
    return Finding(RuleId.SCORE_BENCHMARK_UNKNOWN, folder.path or ".", message, remedy=remedy)


def _org(folder: Folder, logs: Sequence[LogSummary]) -> str:
    named = next((log.submission["org"] for log in logs if log.submission.get("org")), "")
    run = folder.result.get("run")
    if isinstance(run, dict):  # Podium's own results are in folders named after namespace and run
        return named or str(run.get("namespace") or "")
    return folder.place.submitter if folder.place.submitter_is_sure or not named else named


def _system(folder: Folder, benchmark: str) -> str:
    own = folder.result.get("system")
    if isinstance(own, dict):
        return str(own.get("name", ""))
    place = folder.place
    has_no_system_folder = place.system in BETWEEN and canonical(place.benchmark) != benchmark
    return place.benchmark if has_no_system_folder else place.system  # v0.7's Alibaba: results/<system>/result_1.txt
