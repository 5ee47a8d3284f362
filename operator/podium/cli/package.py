"""``podium package``."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from podium.cli.errors import UsageError
from podium.cli.output import Json, console, print_findings, print_json, print_line
from podium.cli.places import FOLDER_NAME, FOLDER_NAME_REMEDY, RoundOption, asked_round, store_at
from podium.documents import DocumentError, file_bytes, read_json
from podium.mlcommons import MissingCheckerError, package_findings
from podium.rounds import load_scorable_rounds
from podium.rules import Finding
from podium.stores import StoreError
from podium.stores.beneath import OpenFolder
from podium.submissions import Submission, check_submission, files_of, gather

_MAX_CODE = 64 << 20


def package(
    results: Annotated[list[str], typer.Argument(metavar="RESULTS...", help="Folders or URLs with results.")],
    system: Annotated[
        Path, typer.Option(metavar="S.json", help="System description; the file's name becomes the system's name.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the package; must be new or empty.")],
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
    rounds = load_scorable_rounds()
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
        parts = list(gather([store_at(place) for place in results], rounds, asked_round(round_, rounds)))
        if not parts:
            raise UsageError(f"{', '.join(results)}: no result_<number>.txt found")
        findings = check_submission(parts, submission, rounds)
        files = {} if findings else files_of(parts, submission)
        findings = findings or package_findings(files, name, parts[0].entry.round)
    except (StoreError, MissingCheckerError, DocumentError) as error:
        raise UsageError(str(error)) from error
    if not findings:
        _write(out, files)
    _print(as_json, out, findings, sorted(files))
    raise typer.Exit(1 if findings else 0)


def _print(as_json: bool, out: Path, findings: tuple[Finding, ...], files: list[str]) -> None:
    if as_json:
        written = [] if findings else files
        print_json({"package": str(out), "files": written, "findings": [f.document() for f in findings]})
    elif findings:
        print_findings(console(), findings)
        console().print(f"no package: {len(findings)} findings", style="bold red")
    else:
        print_line(console(), f"{out}: {len(files)} files, no findings")


def _require_new(out: Path) -> None:
    """Raises UsageError if the place is not empty or leads elsewhere."""
    if out.is_symlink():
        raise UsageError(f"--out {out} is a symbolic link: name the folder itself")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"--out {out} is not empty: choose another folder")


def _read_system(path: Path) -> dict[str, Any]:
    try:
        document = read_json(file_bytes(path), str(path))
    except OSError as error:
        raise UsageError(f"--system {path}: {error.strerror}") from error
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
        raise UsageError(f"--code {folder}: cannot read {error.filename}: {error.strerror}") from error
    if not files:
        raise UsageError(f"--code {folder} contains no files: name the folder of the implementation")
    return files


def _write(out: Path, files: dict[str, bytes]) -> None:
    """Write all files or none. Raises UsageError.

    They are first written into a new folder that nobody else can access, so that no link can be in the way.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as private:
            made = Path(private, out.name)
            for path, content in files.items():
                file = made / path
                if not file.resolve().is_relative_to(made.resolve()):
                    raise UsageError(f"--out {out}: {path} would be outside of it; no package was written")
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
                if file.suffix == ".sh":
                    file.chmod(0o755)
            made.rename(out)  # replaces an empty folder, and nothing else
    except OSError as error:
        raise UsageError(f"--out {out}: {error.strerror}; no package was written") from error
