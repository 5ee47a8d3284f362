"""Check logs against the rules of their rounds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from podium.api import Reason
from podium.mlcommons import MAX_CHARACTERS, MAX_EVENTS, Official, official
from podium.mllog import Event, Parser
from podium.rounds import Round, vocabulary
from podium.rules import Finding, LogCheck, Verdict, repeated_seeds
from podium.rules.catalog import RuleId
from podium.stores import Store
from podium.submissions.entries import ScoredResult, division_of, score_folder
from podium.submissions.power import check_power
from podium.submissions.together import claimed_system, different_settings, unnamed_submitter
from podium.submissions.tree import Folder, Log, read_folders


@dataclass(frozen=True, slots=True)
class Checked:
    """The findings against one log; `round` and `benchmark` say whose rules were applied.

    Or those against the logs of a result together: `log` is then their folder, and there is no verdict.
    """

    log: str
    round: str
    benchmark: str
    official: bool  # whether MLCommons' checker ran, too
    verdict: Verdict | None
    findings: tuple[Finding, ...]


def check_place(
    store: Store,
    rounds: Mapping[str, Round],
    *,
    asked_round: str | None = None,
    division: str | None = None,
    only: str | None = None,
) -> Iterator[Checked]:
    """Check every log below `store`, or only the one with the key `only`.

    Raises StoreError, and MissingCheckerError if a round needs MLCommons' checker and it is not installed.
    """
    for folder in read_folders(store, only=only):
        checked = check_folder(store, folder, rounds, asked_round=asked_round, division=division)
        yield from (each for each in checked if only is None or each.verdict)  # one log says nothing about the others


def check_folder(
    store: Store, folder: Folder, rounds: Mapping[str, Round], *, asked_round: str | None, division: str | None
) -> Iterator[Checked]:
    """Check the logs of one entry: each one by itself, and then all together, with their seeds and documents."""
    entry = score_folder(folder, rounds, asked_round, division)
    round_ = rounds.get(entry.round)
    together = (
        *(f for f in entry.findings if folder.lacks_result and f.rule == RuleId.SCORE_DOCUMENT),
        *entry.together,
        *unnamed_submitter(folder),
        *different_settings(folder, round_),
        *claimed_system(folder, entry.round),
        *check_power(store, folder),
    )
    if round_ is None:
        unknown = tuple(f for f in entry.findings if f.rule == RuleId.SCORE_BENCHMARK_UNKNOWN)
        for log in folder.logs:
            verdict = entry.verdicts[log.index]
            found = verdict.findings if verdict.reason is Reason.NO_MLPERF_LOG else (*unknown, *verdict.findings)
            yield Checked(log.name, entry.round, entry.benchmark, False, verdict, found)
        if together:
            yield Checked(folder.path or ".", entry.round, entry.benchmark, False, None, together)
        return
    benchmark = round_.benchmarks.get(entry.benchmark)  # for any other, only the clock is checked
    # MLCommons' checker has no rules for a benchmark that the round suspended
    has_rules = benchmark is not None and not benchmark.suspended and round_.log_rules is None
    checker = official(round_.name) if has_rules else None
    results: dict[str, tuple[Finding, ...]] = {}
    checks: dict[str, LogCheck] = {}
    for log in folder.logs:
        held_to = division_of(folder, log, division)
        check = LogCheck(log.name, round_, entry.benchmark, held_to, is_own=bool(folder.result))
        results[log.name] = (
            *(f for f in entry.findings if f.rule == RuleId.SCORE_BENCHMARK_UNKNOWN),
            *_check(store, log, entry, check, checker),
        )
        checks[log.name] = check
    asks_for_seeds = round_.log_rules is None and round_.log_format == "mllog" and round_.name != "v0.7"
    required = asks_for_seeds and any(division_of(folder, log, division) != "open" for log in folder.logs)
    for finding in repeated_seeds({name: check.seeds for name, check in checks.items()}, required=required):
        results[finding.field] += (finding,)
    for log in folder.logs:
        verdict = entry.verdicts[log.index]
        ended = entry.goal.window is not None
        found = checks[log.name].end.without_consequences(results[log.name], intended=ended)
        yield Checked(log.name, round_.name, entry.benchmark, checker is not None, verdict, found)
    if together:
        yield Checked(folder.path or ".", round_.name, entry.benchmark, checker is not None, None, together)


def _check(
    store: Store, log: Log, entry: ScoredResult, check: LogCheck, checker: Official | None
) -> tuple[Finding, ...]:
    parser = Parser()
    kept: list[Event] | None = []  # for MLCommons' checker; None when there are too many
    for events in _parsed(parser, store.chunks(log.name)):
        for event in events:
            check.add(event)
        if checker and kept is not None:
            kept += events
            if len(kept) > MAX_EVENTS or parser.mlperf_characters > MAX_CHARACTERS:
                kept = None
    own = (*check.findings(parser.problems, parser.problem_count), *entry.verdicts[log.index].findings)
    check.end.torn_line = parser.line_count if parser.is_torn else None
    if checker is None or kept == []:
        return own
    if kept is None:
        message = f"more than {MAX_EVENTS} MLPerf lines, or {MAX_CHARACTERS >> 20} MiB of them"
        return (
            *own,
            Finding(RuleId.LOG_LONG, log.name, message, remedy="log less often: MLCommons' checker did not run"),
        )
    found = checker.check(kept, log.name, entry.benchmark)
    in_samples = all(evaluation.samples is not None for evaluation in log.summary.evaluations)
    is_open_v06 = entry.round == "v0.6" and check.is_open
    theirs = [
        f for f in found if not (in_samples and _wants_epochs(f)) and not (is_open_v06 and _is_of_closed_division(f))
    ]
    return (*own, *_without_repeats(own, theirs))


def _wants_epochs(finding: Finding) -> bool:
    """Whether MLCommons' open rules want epoch_num of a benchmark that their closed rules count in samples."""
    return (
        finding.rule == RuleId.MLPERF_KEY_CHECK.of("eval_accuracy")
        and "'epoch_num' in v['metadata']" in finding.message
    )


def _is_of_closed_division(finding: Finding) -> bool:
    """Whether MLCommons' rules of v0.6, which have no files for the open division, ask for a closed hyperparameter.

    Only ResNet's have a test at the end, of the hyperparameters of its two optimizers.
    """
    key = finding.rule.split(".")[1:2]
    at_end = finding.rule == RuleId.MLPERF and finding.message.startswith("failed test:")
    return at_end or bool(key and key[0] in vocabulary())


def _parsed(parser: Parser, chunks: Iterable[bytes]) -> Iterator[list[Event]]:
    """The events of a log, piece by piece, so that a log of any size takes no more memory than one piece."""
    for chunk in chunks:
        yield parser.feed(chunk)
    yield parser.close()


# Findings of MLCommons' checker that follow from one of ours.
_FOLLOWS_FROM: Mapping[str, set[str]] = {
    RuleId.LOG_QUALITY: {RuleId.MLPERF_KEY_NEVER.of("eval_accuracy")},
    RuleId.LOG_QUALITY_CLAIM: {RuleId.MLPERF_KEY_NEVER.of("eval_accuracy")},
    RuleId.LOG_RUN_START_REPEATED: {  # of the second run
        RuleId.MLPERF_KEY_CHECK.of(key) for key in ("cache_clear", "init_start", "init_stop")
    },
    RuleId.LOG_RUN_STOP_MISSING: {RuleId.MLPERF_KEY_REQUIRED.of("run_stop")},
    RuleId.LOG_EVAL_RESULT_MISSING: {RuleId.MLPERF_KEY_REQUIRED.of("eval_result")},
    RuleId.LOG_RUN_START_MISSING: {RuleId.MLPERF_KEY_REQUIRED.of("run_start")},
}


def _without_repeats(own: tuple[Finding, ...], theirs: Sequence[Finding]) -> Iterator[Finding]:
    """A fault that both checkers find is reported once, in our words."""
    lines = {finding.line for finding in own if finding.line}
    known = {rule for finding in own for rule in _FOLLOWS_FROM.get(finding.rule, ())}
    return (finding for finding in theirs if finding.line not in lines and finding.rule not in known)
