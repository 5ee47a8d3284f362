"""Build the submission tree of a round from checked results.

Layouts: for v0.5 that of its verify_submission, for v0.6 and later that of mlcommons/policies submission_rules.adoc
(c67e0f8).
"""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import PurePosixPath
from typing import Any

from podium.api import AttemptState
from podium.documents import read_yaml
from podium.mlcommons import UNSAFE
from podium.rounds import Round
from podium.rules import Finding, check_system
from podium.rules.catalog import RuleId
from podium.stores import MAX_LOG_BYTES, NotFound, Store, document_bytes
from podium.submissions.check import Checked, check_folder
from podium.submissions.convergence import convergence_of_entry
from podium.submissions.entries import ScoredResult, score_folder
from podium.submissions.tree import Folder, Log, copy_path, read_folders

_VERSION = re.compile(
    r"\d{1,6}(\.\d{1,6}){0,4}((a|b|rc)\d{1,6})?(\.(post|dev)\d{1,6}){0,2}(\+[a-z0-9.]{1,40})?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class ReviewedResult:
    """One entry with everything known about it."""

    store: Store
    folder: Folder
    entry: ScoredResult
    checked: tuple[Checked, ...]


@dataclass(frozen=True, slots=True)
class Submission:
    """What the submitter provides. `system_id` names the system; `code` has the implementation's files by path."""

    org: str
    system_id: str
    system: Mapping[str, Any]
    email: str = ""
    code: Mapping[str, bytes] | None = None


def gather(
    stores: Sequence[Store],
    rounds: Mapping[str, Round],
    asked_round: str | None,
    system: Mapping[str, Any] | None = None,
) -> Iterator[ReviewedResult]:
    """Score and check every entry in the stores, as a result of `system` if that is given.

    Raises StoreError and MissingCheckerError.
    """
    for store in stores:
        for each in read_folders(store):
            folder = each if system is None else replace(each, system=system)
            entry = score_folder(folder, rounds, asked_round)
            checked = check_folder(store, folder, rounds, asked_round=asked_round, division=None)
            yield ReviewedResult(store, folder, entry, tuple(checked))


def is_closed(folder: Folder) -> bool:
    """Whether a result is held to the closed rules, as results out of the box are, too."""
    own = folder.result.get("division")
    logged = {log.summary.submission.get("division", "closed").lower() for log in folder.logs}
    return own != "open" if own else "open" not in logged


def check_submission(
    parts: Sequence[ReviewedResult], submission: Submission, rounds: Mapping[str, Round]
) -> tuple[Finding, ...]:
    """Why no package can be made of these results; empty if one can. Whether it would pass is for `review` to say."""
    found: list[Finding] = []
    names = {part.entry.round for part in parts}
    if len(names) > 1:
        message = f"results of {len(names)} rounds: {', '.join(sorted(names))}"
        found.append(Finding(RuleId.PACKAGE_ROUND, ".", message, remedy="make one package for each round"))
    for benchmark, count in Counter(part.entry.benchmark for part in parts).items():
        if count > 1:
            remedy = "name one result for each benchmark of the system"
            found.append(Finding(RuleId.PACKAGE_TWICE, benchmark, f"{count} results of one benchmark", remedy=remedy))
    found += check_system(submission.system, f"{submission.system_id}.json", min(names, default="v0.6"))
    for part in parts:
        found += _unusable(part, rounds)
        if submission.code is None and (message := other_program(part)):
            remedy = "name the folder of its implementation with --code"
            found.append(Finding(RuleId.PACKAGE_CODE, part.entry.benchmark, message, remedy=remedy))
    return tuple(found)


def other_program(part: ReviewedResult) -> str:
    """Why the package cannot claim that Podium's trainer ran; "" if it can.

    Its scripts start run.yaml, which anyone who can write to the result may have changed. Raises StoreError.
    """
    if not part.folder.result:
        return "the implementation is missing: this result is not from Podium's trainers"
    key = part.folder.key("run.yaml")
    try:
        (document,) = read_yaml(document_bytes(part.store, key), key)
        spec = document.get("spec") or {}
        template = spec.get("template") or {}
        named = [field for field in ("image", "command", "args") if template.get(field)]
    except (NotFound, ValueError, AttributeError):
        return f"there is no readable {key}"
    return f"{key} sets template.{named[0]}: it does not start Podium's trainer" if named else ""


def _unusable(part: ReviewedResult, rounds: Mapping[str, Round]) -> Iterator[Finding]:
    """Invalid values that would become file names or parts of scripts in the package."""
    entry, result = part.entry, part.folder.result
    where = part.folder.key("result.json") if result else part.folder.path or "."
    round_ = rounds.get(entry.round)
    if round_ is None:
        message = f"{entry.round[:80]!r} is not a known round"
        yield Finding(RuleId.PACKAGE_ROUND, where, message, remedy=f"set one of {', '.join(rounds)} with --round")
    elif entry.benchmark not in round_.benchmarks and result:
        message = f"{entry.benchmark[:80]!r} is not a benchmark of {round_.name}"
        yield Finding(
            RuleId.PACKAGE_BENCHMARK, where, message, remedy=f"its benchmarks are {', '.join(round_.benchmarks)}"
        )
    elif entry.benchmark in round_.benchmarks and not _is_held(round_, entry.benchmark):
        message = f"{round_.name} suspended {entry.benchmark} and published no results for it"
        others = (name for name, other in rounds.items() if _is_held(other, entry.benchmark))
        yield Finding(RuleId.PACKAGE_BENCHMARK, where, message, remedy=f"run it under {' or '.join(others)}")
    if result and not _VERSION.fullmatch(_version(part)):
        message = f'"podium" is {_version(part)[:80]!r}, not a version'
        remedy = "restore the original result.json: the package's setup.sh installs this version, such as 0.1.0"
        yield Finding(RuleId.PACKAGE_VERSION, where, message, remedy=remedy)


def _is_held(round_: Round, benchmark: str) -> bool:
    """Whether a round takes results of a benchmark."""
    found = round_.benchmarks.get(benchmark)
    return found is not None and not found.suspended


def faults(part: ReviewedResult) -> Iterator[Finding]:
    """What is wrong with the attempts of an entry.

    A log that breaks rules is tolerated if its attempt did not converge and the score leaves it out. A log that is cut
    off, claims a success that it does not show, or names rules that do not exist is never tolerated.
    """
    entry = part.entry
    if entry.goal.window:
        message = "not official: the run measures the rate, not the time to train"
        yield Finding(RuleId.PACKAGE_SCORE, entry.benchmark, message, remedy="run it again without spec.measure")
        return
    if not entry.score.official:
        for reason in entry.score.reasons:
            yield Finding(
                RuleId.PACKAGE_SCORE,
                entry.benchmark,
                reason,
                remedy="run it again with as many attempts as the rules require",
            )
    yield from (finding for finding in entry.findings if finding.rule == RuleId.LOG_QUALITY_CLAIM)
    states = {log.name: entry.verdicts[log.index].state for log in part.folder.logs}
    submitted = {log.name for log in _submitted(part)}
    wrong = [each for each in part.checked if each.findings and (each.verdict is None or each.log in submitted)]
    tolerated = [each for each in wrong if states.get(each.log) is AttemptState.NOT_CONVERGED]
    for each in wrong:
        if each not in tolerated or len(tolerated) > entry.rule.max_failures:
            yield from each.findings
        else:
            yield from (finding for finding in each.findings if finding.rule in UNSAFE)


def _submitted(part: ReviewedResult) -> list[Log]:
    """The logs that are handed in: of more attempts than the round asks for, those that its rules designate.

    Of a result of Podium's, the package keeps every attempt in its copy.
    """
    return [log for log in part.folder.logs if part.entry.score.counts(log.index)]


def packaged_logs(parts: Sequence[ReviewedResult], submission: Submission) -> dict[str, str]:
    """The key of each log by its path in the package. MLCommons' tools want them numbered from 0, without gaps."""
    return {
        f"{submission.org}/results/{submission.system_id}/{part.entry.benchmark}/result_{number}.txt": log.name
        for part in parts
        for number, log in enumerate(_submitted(part))
    }


def kept_files(parts: Sequence[ReviewedResult], submission: Submission) -> Iterator[tuple[str, Store, str]]:
    """Yield what the package keeps of each result of Podium's, as it is: path in the package, store and key."""
    for part in parts:
        if part.folder.result:
            base = part.folder.key("")
            copy = copy_path(submission.system_id, part.entry.benchmark)
            for key in part.store.list(base):
                yield f"{submission.org}/{copy}/{key.removeprefix(base)}", part.store, key


def files_of(parts: Sequence[ReviewedResult], submission: Submission) -> dict[str, bytes]:
    """The files of the package but those that it only keeps (`kept_files`): content by path."""
    round_ = parts[0].entry.round
    files = _files_v05(parts, submission) if round_ == "v0.5" else _files(parts, submission)
    return {f"{submission.org}/{path}": content for path, content in files.items()}


def _files(parts: Sequence[ReviewedResult], submission: Submission) -> dict[str, bytes]:
    system = submission.system_id
    files = {f"systems/{system}.json": _json(submission.system)}
    for part in parts:
        name = part.entry.benchmark
        implementation = "podium" if submission.code is None else "own"
        base = f"benchmarks/{name}"
        for path, content in (submission.code or _own_code(part)).items():
            files[f"{base}/implementations/{implementation}/{path}"] = content
        described = {"hyperparameters": _hyperparameters(part.entry), "target": part.entry.target}
        files[f"{base}/{system}/{system}_{implementation}.json"] = _json(described)
        for path, content in _scripts(part, submission).items():
            files[f"{base}/{system}/{path}"] = content
        files |= _logs(part, f"results/{system}/{name}")
    return files


def _files_v05(parts: Sequence[ReviewedResult], submission: Submission) -> dict[str, bytes]:
    entry = submission.system_id
    files = {
        "submission.json": _json({"org": submission.org, "poc_email": submission.email}),
        f"results/{entry}/entry.json": _json(submission.system),
    }
    for part in parts:
        base = f"code/{part.entry.benchmark}"
        for path, content in (submission.code or _own_code(part)).items():
            files[f"{base}/{path}"] = content
        scripts = _scripts(part, submission)
        files[f"{base}/README.md"] = scripts["README.md"]
        files[f"{base}/preproc_dataset.sh"] = scripts["init_datasets.sh"]
        files[f"{base}/setup_{entry}.sh"] = scripts["setup.sh"]
        files[f"{base}/run_and_time_{entry}.sh"] = scripts["run_and_time.sh"]
        files |= _logs(part, f"results/{entry}/{part.entry.benchmark}")
    return files


def _logs(part: ReviewedResult, folder: str) -> dict[str, bytes]:
    """The unchanged logs, numbered from 0, and the scaling factor from the reference convergence points."""
    files = {
        f"{folder}/result_{i}.txt": document_bytes(part.store, log.name, MAX_LOG_BYTES)
        for i, log in enumerate(_submitted(part))
    }
    scaling = part.entry.scaling
    if part.folder.scaling is None and is_closed(part.folder):
        scaling = convergence_of_entry(part.entry).scaling or 1
    if scaling != 1:
        files[f"{folder}/scaling.json"] = _json({"scaling_factor": scaling})
    return files


def _own_code(part: ReviewedResult) -> dict[str, bytes]:
    """The implementation, if it is Podium's: a released package, whose version identifies the code that ran."""
    text = f"# {part.entry.benchmark}\n\nThe trainer of podium-benchmarks {_version(part)}, started as in run.yaml.\n"
    return {"README.md": text.encode(), "run.yaml": document_bytes(part.store, part.folder.key("run.yaml"))}


def _version(part: ReviewedResult) -> str:
    """The version of both distributions, which are released together; the result records the operator's."""
    return str(part.folder.result.get("podium") or version("podium-operator"))


def _scripts(part: ReviewedResult, submission: Submission) -> dict[str, bytes]:
    name = part.entry.benchmark
    header = "#!/bin/sh\nset -eu\n"
    logs = "\n## Logs\n\n" + "".join(
        f"- `result_{number}.txt`: {f'attempt {log.index}' if part.folder.result else PurePosixPath(log.name).name}\n"
        for number, log in enumerate(_submitted(part))
    )
    if submission.code is None:
        distributions = (f"{name}=={_version(part)}" for name in ("podium-benchmarks", "podium-operator"))
        setup = f"pip install {shlex.join(distributions)}\n"
        data = ': "${DATA_DIR:?set it to the folder of the data set}"\ntest -d "$DATA_DIR"\n'
        run = 'cd "$(dirname "$0")"\npodium run --local ../implementations/podium/run.yaml --data "$DATA_DIR"\n'
        steps = (
            "`setup.sh` installs the trainers.",
            "`init_datasets.sh` checks the data set.",
            "`run_and_time.sh` trains.",
        )
        readme = f"# {name}\n\n" + "".join(f"{number}. {step}\n" for number, step in enumerate(steps, start=1))
    else:
        here = 'cd "$(dirname "$0")/../implementations/own"\n'
        setup, data, run = here + "./setup.sh\n", here + "./init_datasets.sh\n", here + "./run_and_time.sh\n"
        readme = f"# {name}\n\nThe scripts here call those of the implementation.\n"
    return {
        "README.md": (readme + logs).encode(),
        "setup.sh": (header + setup).encode(),
        "init_datasets.sh": (header + data).encode(),
        "run_and_time.sh": (header + run).encode(),
    }


def _hyperparameters(entry: ScoredResult) -> dict[str, Any]:
    """The hyperparameters of the first attempt that counts."""
    first = next((i for i in entry.score.scored), None)
    return {} if first is None else dict(entry.logs[first].hyperparameters)


def _json(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
