"""``podium package``."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import typer

from podium.cli.errors import UsageError
from podium.cli.output import Json, console, print_findings, print_json, print_line
from podium.cli.places import FOLDER_NAME, FOLDER_NAME_REMEDY, RoundOption, asked_round, nothing_below, store_at
from podium.documents import DocumentError, file_bytes, read_json
from podium.mlcommons import MissingCheckerError, package_findings
from podium.rounds import Round, load_rounds
from podium.rules import Finding
from podium.rules.catalog import RuleId
from podium.rules.system import open_fields
from podium.stores import FileStore, StoreError
from podium.stores.beneath import OpenFolder
from podium.submissions import (
    ReviewedResult,
    Submission,
    check_submission,
    describe_entry,
    describe_system,
    files_of,
    gather,
    kept_files,
    packaged_logs,
    review,
)

_MAX_CODE = 64 << 20


def package(
    results: Annotated[list[str], typer.Argument(metavar="RESULTS...", help="Folders or URLs with results.")],
    system: Annotated[
        Path | None,
        typer.Option(metavar="S.json", help="System description; the file's name becomes the system's name."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the package; must be new or empty.")
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option(metavar="S.json", help="Instead: write a system description from what the run saw of its nodes."),
    ] = None,
    org: Annotated[
        str | None, typer.Option(help="Folder name of the submitter; default: the submitter in S.json.")
    ] = None,
    email: Annotated[str, typer.Option(help="Contact address, for v0.5 packages.")] = "",
    code: Annotated[Path | None, typer.Option(help="Folder with the implementation, if not Podium's.")] = None,
    round_: RoundOption = None,
    as_json: Json = False,
) -> None:
    """Build a submission package after checking it.

    Scores and checks the logs and the system description; from v0.7 on, MLCommons' package checker also runs. Exits
    with 1 and writes no package if there are any findings.
    """
    rounds = load_rounds()
    if init is not None:
        if system is not None or out is not None:
            raise UsageError("--init writes a system description and no package: leave out --system and --out")
        _print_open(as_json, init, _write_description(init, results, rounds, asked_round(round_, rounds)))
        return
    if system is None or out is None:
        raise UsageError("name the system description with --system and the package's folder with --out, or use --init")
    _require_new(out)
    described = _read_system(system)
    name = org or str(described.get("submitter") or "")
    if not name:
        raise UsageError(f"{system} does not name a submitter: add it there, or use --org")
    for option, text in (("--org", name), ("--system", system.stem)):
        if not FOLDER_NAME.fullmatch(text):
            raise UsageError(f"{option}: {text!r} is not a valid folder name; {FOLDER_NAME_REMEDY}")
    submission = Submission(name, system.stem, described, email, _read_code(code) if code else None)
    try:
        parts = list(gather([store_at(place) for place in results], rounds, asked_round(round_, rounds), described))
        if not parts:
            raise nothing_below(", ".join(results))
        findings = _refusals(parts, submission, rounds)
        files: list[str] = []
        if not findings:
            files, findings = _write(out, parts, submission, rounds)
    except (StoreError, MissingCheckerError, DocumentError) as error:
        raise UsageError(str(error)) from error
    notes = [f"{part.entry.benchmark}: {note}" for part in parts for note in part.entry.notes]
    _print(as_json, out, findings, files, packaged_logs(parts, submission), notes)
    raise typer.Exit(1 if findings else 0)


def _write_description(
    file: Path, results: Sequence[str], rounds: Mapping[str, Round], asked: str | None
) -> Mapping[str, Any]:
    """Write and return the description of the first result's system. Raises UsageError."""
    try:
        part = next(gather([store_at(place) for place in results], rounds, asked), None)
        if part is None:
            raise nothing_below(", ".join(results))
        described = describe_entry(part) if part.entry.round == "v0.5" else describe_system(part)
        with file.open("x", encoding="utf-8") as new:
            new.write(json.dumps(described, indent=2, ensure_ascii=False) + "\n")
    except FileExistsError as error:
        raise UsageError(f"--init {file} exists: remove it first, or choose another name") from error
    except OSError as error:
        raise UsageError(f"--init {file}: {error.strerror}; name a new file in an existing folder") from error
    except (StoreError, MissingCheckerError) as error:
        raise UsageError(str(error)) from error
    return described


def _print_open(as_json: bool, file: Path, described: Mapping[str, Any]) -> None:
    """List what is left to fill in."""
    left = dict(open_fields(described))
    known = _count(described) - len(left)
    if as_json:
        print_json({"system": str(file), "known": known, "open": left})
        return
    for field, allowed in left.items():
        print_line(console(), f"{field}: {allowed}")
    print_line(console(), f"{file}: {known} fields from the run, {len(left)} to fill in")


def _count(described: object) -> int:
    """The number of fields of a description, at all depths."""
    if isinstance(described, list):
        return sum(map(_count, described))
    return sum(map(_count, described.values())) if isinstance(described, dict) else 1


def _refusals(
    parts: Sequence[ReviewedResult], submission: Submission, rounds: Mapping[str, Round]
) -> tuple[Finding, ...]:
    """What is wrong with the results: that no package can be made of them, or what a reviewer would question.

    The package will have a scaling.json where the results need one and have none. Of a result without its result.json
    nothing else is worth saying.
    """
    if lacking := [
        f for p in parts if p.folder.lacks_result for f in p.entry.findings if f.rule == RuleId.SCORE_DOCUMENT
    ]:
        return tuple(lacking)
    scaled = {part.folder.path or part.entry.benchmark for part in parts if part.folder.scaling is None}
    found = list(check_submission(parts, submission, rounds))
    found += (
        finding
        for finding in review(parts)
        if finding.rule != RuleId.PACKAGE_SYSTEM_MISSING  # found already
        and not (finding.rule == RuleId.REVIEW_SCALING and finding.field in scaled)
    )
    return tuple(found)


def _print(
    as_json: bool, out: Path, findings: Sequence[Finding], files: Sequence[str], logs: Mapping[str, str],
    notes: Sequence[str],
) -> None:  # fmt: skip
    if as_json:
        written = {"files": [], "logs": {}} if findings else {"files": files, "logs": logs}
        print_json({"package": str(out), **written, "notes": notes, "findings": [f.document() for f in findings]})
    elif findings:
        print_findings(console(), findings)
        count = f"{len(findings)} finding{'' if len(findings) == 1 else 's'}"
        console().print(f"no package: {count}", style="bold red")
    else:
        for note in notes:
            print_line(console(), note, "dim")
        for path, source in logs.items():
            if PurePosixPath(path).name != PurePosixPath(source).name:
                print_line(console(), f"{path} is {source}", "dim")
        print_line(console(), f"{out}: {len(files)} files, no findings")


def _require_new(out: Path) -> None:
    """Raises UsageError if the place is not empty or leads elsewhere."""
    if out.is_symlink():
        raise UsageError(f"--out {out} is a symbolic link: name the folder itself")
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file: choose a new folder")
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"--out {out} is not empty: choose another folder")


def _read_system(path: Path) -> dict[str, Any]:
    try:
        document = read_json(file_bytes(path), str(path))
    except OSError as error:
        remedy = "podium package PATH --init FILE writes one"
        raise UsageError(f"--system {path}: {error.strerror}; {remedy}") from error
    except DocumentError as error:
        raise UsageError(f"--system {error}") from error
    if not isinstance(document, dict):
        raise UsageError(f"--system {path}: expected a JSON object that describes the system")
    return document


def _read_code(folder: Path) -> dict[str, bytes]:
    """The implementation's files by path, without links. Raises UsageError."""
    files: dict[str, bytes] = {}
    size = 0
    try:
        with OpenFolder.at(folder) as opened:
            for key in sorted(key for key, entry in opened.walk() if entry.is_file(follow_symlinks=False)):
                with opened.open(key) as file:
                    size += os.fstat(file.fileno()).st_size
                    if size > _MAX_CODE:
                        limit = _MAX_CODE >> 20
                        raise UsageError(f"--code {folder} is larger than {limit} MiB: leave out data and weights")
                    files[key] = file.readall()
    except OSError as error:
        what = f"--code {folder}: cannot read {error.filename}: {error.strerror}"
        raise UsageError(f"{what}; name the folder of the implementation") from error
    if not files:
        raise UsageError(f"--code {folder} contains no files: name the folder of the implementation")
    return files


def _write(
    out: Path, parts: Sequence[ReviewedResult], submission: Submission, rounds: Mapping[str, Round]
) -> tuple[list[str], tuple[Finding, ...]]:
    """Write all files, or none if MLCommons' checker or a review of the package finds anything.

    They are first written into a new folder that nobody else can access, so that no link can be in the way. Returns
    their names, and the findings. Raises UsageError.
    """
    round_ = parts[0].entry.round
    files, kept = files_of(parts, submission), list(kept_files(parts, submission))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as private:
            made = Path(private, out.name)
            for path, content in files.items():
                file = _new_file(made, path, out)
                file.write_bytes(content)
                if file.suffix == ".sh":
                    file.chmod(0o755)
            for path, store, key in kept:
                with _new_file(made, path, out).open("wb") as copy:
                    copy.writelines(store.chunks(key))
            found = package_findings(files, submission.org, round_)
            found = found or tuple(review(list(gather([FileStore(made.resolve())], rounds, round_))))
            if not found:
                made.rename(out)  # replaces an empty folder, and nothing else
            return sorted([*files, *(path for path, _, _ in kept)]), found
    except OSError as error:
        raise UsageError(f"--out {out}: {error.strerror}; no package was written") from error


def _new_file(made: Path, path: str, out: Path) -> Path:
    """A file of the package, in a folder that exists. Raises UsageError if it would be elsewhere."""
    file = made / path
    if not file.resolve().is_relative_to(made.resolve()):
        raise UsageError(f"--out {out}: {path} would be outside of it; no package was written")
    file.parent.mkdir(parents=True, exist_ok=True)
    return file
