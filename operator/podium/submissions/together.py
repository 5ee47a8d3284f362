"""What the logs of one result say together, and about the system that they are submitted for. Pure."""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from podium.mllog import LogSummary
from podium.rounds import Published, Round, round_number
from podium.rules import Finding, check_system, pace
from podium.rules.catalog import RuleId
from podium.submissions.systems import described_chips, logged_chips
from podium.submissions.tree import Folder, Log

_TELLING_NUMBERS = 3  # with this many nearly equal ones, two attempts are the same one
_SAME = 5e-5  # no two published logs of different attempts are as close; noise that hides a copy is smaller
_SAME_ELSEWHERE = 2e-5  # between results, of which there are more
_LONG_ROW = 4  # shorter ones may come close by chance, so they must be equal
_MOST = 20
_DESCRIBED_SINCE = (1, 0)  # MLCommons' package checker asks for no field of a description before
# What logs and system descriptions call the same status; v0.7 to v5.1 spell it in twelve ways.
_STATUSES = (
    ("onprem", ("onprem", "on-prem", "on prem")),
    ("cloud", ("cloud",)),
    ("research", ("research", "rdi", "internal")),
    ("preview", ("preview",)),
)
_Row = Mapping[tuple[object, ...], float]
_NOBODY = "podium"  # what Podium's trainers log as the submitter if nobody says who it is
_PLACEHOLDERS = ("placeholder", "reference_implementation")  # left as they are in the images that submitters share


def about_files(folder: Folder) -> Iterator[Finding]:
    """Report numbers that are missing or used twice: each is an attempt that somebody removed or hid."""
    there = [log.index for log in folder.logs if log.name not in folder.unnumbered]
    claimed = folder.result.get("attempts")
    if isinstance(claimed, list):
        wanted = {a["index"] for a in claimed if isinstance(a, dict) and isinstance(a.get("index"), int)}
        if folder.own != folder.path and folder.designated:  # the package keeps the others in its copy of the result
            wanted &= {*folder.designated}
    else:
        wanted = set(range(min(there, default=0), max(there, default=-1) + 1))
    where = folder.path or "."
    for number in sorted(wanted - set(there))[:_MOST]:
        remedy = "every attempt must be included in the results, scored or not"
        yield Finding(RuleId.REVIEW_RUNS_MISSING, where, f"attempt {number} is missing", remedy=remedy)
    for number in sorted(set(there) - wanted)[:_MOST]:
        remedy = "remove it, or ask for the original result.json: its attempts are not all of one run"
        yield Finding(
            RuleId.SCORE_FILES, where, f"attempt {number} is not in result.json; it is counted", remedy=remedy
        )
    remedy = "give each attempt a number of its own: result_0.txt, result_1.txt, ..."
    for name, other in folder.same_number[:_MOST]:
        message = f"has the same number as {PurePosixPath(other).name}; both are counted"
        yield Finding(RuleId.SCORE_FILES, name, message, remedy=remedy)
    for name in folder.stray[:_MOST]:
        yield Finding(RuleId.SCORE_FILES, name, "is not named result_<number>.txt; it is not counted", remedy=remedy)
    if there:  # where no file is numbered, the names are merely unusual
        for name in folder.unnumbered[:_MOST]:
            yield Finding(RuleId.SCORE_FILES, name, "is not named result_<number>.txt; it is counted", remedy=remedy)


def copies(logs: Sequence[Log]) -> Iterator[Finding]:
    """Report logs whose evaluations are those of another one, whatever their times, names and seeds."""
    rows: list[tuple[str, _Row]] = []
    for log in logs:
        row = _row(log.summary)
        if len(row) < _TELLING_NUMBERS:
            continue
        twin = next((name for name, other in rows if _same_row(row, other) or _same_points(row, other)), None)
        if twin:
            message = f"all {len(log.summary.evaluations)} evaluations are the same as in {twin}"
            remedy = "ask whether both attempts had the same seed, and for their own logs"
            yield Finding(RuleId.REVIEW_RUNS_SAME, log.name, message, remedy=remedy)
        rows.append((log.name, row))


def copies_elsewhere(entries: Iterable[Sequence[Log]]) -> Iterator[Finding]:
    """Report logs with the evaluations of a log of another entry, such as one of another system."""
    rows: dict[tuple[str | None, int], list[tuple[str, _Row]]] = defaultdict(list)
    for logs in entries:
        here = [(log, row) for log in logs if len(row := _row(log.summary)) >= _LONG_ROW]
        for log, row in here:
            others = rows[log.summary.benchmark, len(row)]
            twin = next((name for name, other in others if _same_row(row, other, _SAME_ELSEWHERE)), None)
            if twin:
                message = f"all {len(log.summary.evaluations)} evaluations are the same as in {twin}, of another result"
                yield Finding(RuleId.REVIEW_RUNS_SAME, log.name, message, remedy="ask for the result's own logs")
        for log, row in here:
            rows[log.summary.benchmark, len(row)].append((log.name, row))


def _row(summary: LogSummary) -> _Row:
    """The numbers of all evaluations, in order, by point and metric."""
    row: dict[tuple[object, ...], float] = {}
    for number, each in enumerate(summary.evaluations):
        point = (each.epoch, each.samples)
        for metric, value in each.quality.items():
            key = (*point, metric)
            row[(number, *key) if key in row or point == (None, None) else key] = value
    return row


def _same_row(row: _Row, other: _Row, near: float = _SAME) -> bool:
    return len(row) == len(other) and _near(zip(row.values(), other.values(), strict=True), near)


def _same_points(row: _Row, other: _Row) -> bool:
    """Whether all that both evaluated is the same: one may have been cut short, or have evaluations left out."""
    return _near((value, other[point]) for point, value in row.items() if point in other)


def _near(pairs: Iterable[tuple[float, float]], near: float = _SAME) -> bool:
    count, equal = 0, True
    for one, other in pairs:
        if not abs(one - other) <= near * max(1.0, abs(one)):
            return False
        count, equal = count + 1, equal and one == other
    return count >= _LONG_ROW or (count >= _TELLING_NUMBERS and equal)


def uneven_pace(logs: Sequence[Log], usual: Published | None) -> Iterator[Finding]:
    """Report attempts that train faster than the others of the result, by their own stamps."""
    if usual is None or usual.run is None:
        return
    paces = {log.name: found for log in logs if (found := pace(log.summary)) is not None}
    if len(paces) < _TELLING_NUMBERS:
        return
    median = statistics.median(paces.values())
    for name, each in paces.items():
        if each < usual.run * median:
            message = f"trains {median / each:.2f} times as fast as the other attempts by its stamps"
            remedy = "ask for the unedited log: attempts of one system run at one speed"
            yield Finding(RuleId.SCORE_PACE, name, message, remedy=remedy)


def names_nobody(folder: Folder) -> bool:
    """Whether a result of Podium's is closed, and its logs name no submitter."""
    logged = {log.summary.submission.get("org") for log in folder.logs}
    return bool(folder.result) and folder.result.get("division") != "open" and _NOBODY in logged


def unnamed_submitter(folder: Folder) -> Iterator[Finding]:
    """Report a result that nobody can submit, because the run did not say in whose name its logs are written."""
    if names_nobody(folder):
        message = f"the logs name no submitter: submission_org is {_NOBODY}, which is what a run logs that names none"
        remedy = (
            "set spec.submission.org and spec.submission.status in the run file, or trainer.submission in the chart's "
            "values, and run it again: logs must not be edited"
        )
        yield Finding(RuleId.LOG_SUBMITTER, folder.path or ".", message, remedy=remedy)


def different_settings(folder: Folder, round_: Round | None) -> Iterator[Finding]:
    """Report hyperparameters that differ between the attempts of a result.

    The last value of one that a round's logs repeat at each change says only how far an attempt got. A log that was cut
    off may lack some.
    """
    changing = round_.log_rules.schedules if round_ and round_.log_rules else ()
    logs = [log.summary for log in folder.logs if log.summary.lines]
    for key in sorted({key for log in logs for key in log.hyperparameters}.difference(changing)):
        values = sorted(
            {repr(log.hyperparameters.get(key)) for log in logs if log.run_stop or key in log.hyperparameters}
        )
        if len(values) > 1:
            remedy = "a result must have one set of hyperparameters for all its attempts"
            message = f"the attempts differ in {key}: {', '.join(values[:5])}"
            yield Finding(RuleId.REVIEW_HYPERPARAMETERS_DIFFER, folder.path or ".", message, remedy=remedy)


def claimed_system(folder: Folder, round_: str) -> Iterator[Finding]:
    """Compare the system description with the logs: fields, division, status, submitter, platform and accelerators."""
    system, where = folder.system, folder.path or "."
    logs = [log.summary for log in folder.logs if log.summary.lines]
    if not system:
        return
    if round_number(round_) >= _DESCRIBED_SINCE and ("number_of_nodes" in system or "system_name" in system):
        yield from (f for f in check_system(system, where, round_) if f.rule == RuleId.PACKAGE_SYSTEM_MISSING)
    for key, field, agrees in (
        ("division", "division", _same_text),
        ("org", "submitter", _same_org),
        ("status", "status", _same_status),
    ):
        claim = str(system.get(field) or "")
        logged = sorted({log.submission.get(key, "") for log in logs} - {""})
        if key != "division" and names_nobody(folder):
            continue  # `unnamed_submitter` says so, once
        if field in system and not all(agrees(text, claim) for text in logged):
            message = f"the system description says {claim or 'nothing'}, the logs say {', '.join(logged)}"
            yield Finding(RuleId.REVIEW_KEY.of(key), where, message, remedy="correct the one that is wrong")
    yield from _platform(folder, system, logs)
    described, counted = described_chips(system), {count for log in logs if (count := logged_chips(log))}
    if described and counted and counted != {described}:
        message = (
            f"the system description has {described} accelerators, the logs {', '.join(map(str, sorted(counted)))}"
        )
        yield Finding(RuleId.REVIEW_KEY.of("chips"), where, message, remedy="correct the one that is wrong")


def _platform(folder: Folder, system: Mapping[str, Any], logs: Sequence[LogSummary]) -> Iterator[Finding]:
    """Report logs of different platforms, or of another system of the package; names are too free to compare more."""
    where = folder.path or "."
    logged = sorted({log.submission.get("platform", "") for log in logs} - {""})
    own = {_letters(name) for name in (PurePosixPath(folder.path).parent.name, str(system.get("system_name", "")))}
    foreign = [name for name in logged if _letters(name) in set(map(_letters, folder.other_systems)) - own]
    if foreign:
        message = f"the logs are of {', '.join(foreign)}, another system of the package"
        yield Finding(RuleId.REVIEW_KEY.of("platform"), where, message, remedy="move them to their own system")
    elif len(logged) > 1:
        message = f"the logs are of several platforms: {', '.join(logged[:5])}"
        yield Finding(RuleId.REVIEW_KEY.of("platform"), where, message, remedy="run all attempts on one system")


def platform_note(folder: Folder) -> str:
    """A sentence if the logs name the system otherwise than its description does, else ""."""
    name = str(folder.system.get("system_name") or "")
    logged = sorted({log.summary.submission.get("platform", "") for log in folder.logs} - {""})
    known = (_letters(name), _letters(PurePosixPath(folder.path).parent.name))
    odd = [text for text in logged if not any(_letters(text) in k or k in _letters(text) for k in known if k)]
    return (
        f"the logs name the platform {', '.join(odd[:5])}, the description names the system {name}"
        if name and odd
        else ""
    )


def _same_text(logged: str, claimed: str) -> bool:
    return logged.strip().lower() == claimed.strip().lower()


def _same_org(logged: str, claimed: str) -> bool:
    """Whether both name one organization; either may be shorter, and several may be in any order."""
    one, other = _letters(logged), _letters(claimed)
    words, others = (set(re.findall(r"[^\W_]+", text.lower())) for text in (logged, claimed))
    same = one in other or other in one or words <= others or others <= words
    return (same and bool(one and other)) or any(text in logged.lower() for text in _PLACEHOLDERS)


def _same_status(logged: str, claimed: str) -> bool:
    """Whether both have the same meaning; "available" alone may be on premise or in a cloud."""
    one, other = _status(logged), _status(claimed)
    return not one or one == other or (claimed.strip().lower() == "available" and one in ("onprem", "cloud"))


def _status(text: str) -> str:
    lowered = text.lower()
    return next((name for name, words in _STATUSES if any(word in lowered for word in words)), "")


def _letters(text: str) -> str:
    return re.sub(r"[\W_]", "", text.lower())
