"""Read BenchmarkRuns and BenchmarkSweeps from a file, with errors for the person who wrote it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from podium.api import GROUP, KIND, VERSION, BenchmarkRunSpec
from podium.api.sweep import BenchmarkSweepSpec
from podium.cli.errors import UsageError
from podium.documents import MAX_YAML_BYTES, DocumentError, file_bytes, read_yaml
from podium.rounds import load_rounds
from podium.rules import Finding, check_form, check_spec


class SpecError(UsageError):
    """A spec does not match the CRD."""

    def __init__(self, path: Path, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__(f"{path} has errors:\n" + "\n".join(f"  {finding}" for finding in self.findings))


def read_run_file(path: Path) -> tuple[str, BenchmarkRunSpec]:
    """Name and spec of the BenchmarkRun in `path`, checked against its round."""
    name, spec = read_spec(path)
    if findings := check_spec(spec, load_rounds()):
        raise SpecError(path, findings)
    return name, spec


def read_spec(path: Path) -> tuple[str, BenchmarkRunSpec]:
    """Name and spec of the one BenchmarkRun in `path`, not yet checked against its round.

    Raises SpecError if the spec does not match the CRD.
    """
    document = read_document(path)
    return run_name(path, document), parse_spec(path, document)


def run_name(path: Path, document: dict[str, Any]) -> str:
    """The run's name, or the file's if it has none."""
    metadata = document.get("metadata")
    return str((metadata.get("name") if isinstance(metadata, dict) else None) or path.stem)


def parse_spec(path: Path, document: dict[str, Any]) -> BenchmarkRunSpec:
    """The spec of an object in `path`. Raises SpecError."""
    try:
        return BenchmarkRunSpec.model_validate(document.get("spec") or {})
    except ValidationError as error:
        raise SpecError(path, check_form(error)) from error


def parse_sweep(path: Path, document: dict[str, Any]) -> BenchmarkSweepSpec:
    """The spec of a sweep in `path`. Raises SpecError."""
    try:
        return BenchmarkSweepSpec.model_validate(document.get("spec") or {})
    except ValidationError as error:
        raise SpecError(path, check_form(error, model=BenchmarkSweepSpec)) from error


def read_document(path: Path) -> dict[str, Any]:
    """The only object in `path`, which must be a BenchmarkRun."""
    documents = read_documents(path)
    if len(documents) > 1:
        raise UsageError(f"{path} contains {len(documents)} runs: run one at a time; move it to its own file")
    return documents[0]


def read_folder(folder: Path, kinds: Sequence[str]) -> dict[Path, list[dict[str, Any]]]:
    """The objects of these `kinds` in each of the files that ``kubectl apply -f FOLDER`` would read.

    Those of other groups are left out. Raises UsageError if no file has one.
    """
    files = sorted(file for file in folder.iterdir() if file.suffix in (".yaml", ".yml", ".json") and file.is_file())
    found = {file: read_documents(file, kinds, among_others=True) for file in files}
    if not any(found.values()):
        raise UsageError(f"{folder}: no file in it (*.yaml, *.yml, *.json) has a {' or a '.join(kinds)}")
    return {file: documents for file, documents in found.items() if documents}


def read_documents(path: Path, kinds: Sequence[str] = (KIND,), *, among_others: bool = False) -> list[dict[str, Any]]:
    """All objects in `path`: one or more of these `kinds`, those of a kind with distinct names.

    `among_others`: there may be objects of other groups, which are left out, and none of these kinds.
    """
    try:
        read = read_yaml(file_bytes(path, MAX_YAML_BYTES), str(path))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; name a file with a {' or a '.join(kinds)}") from error
    except DocumentError as error:
        raise UsageError(str(error)) from error
    present = [document for document in read if document is not None]
    documents, version = [], f"{GROUP}/{VERSION}"
    for number, document in enumerate(present or [None], start=1):
        if among_others and not _is_meant_for_us(document, kinds):
            continue
        is_ours = isinstance(document, dict) and document.get("apiVersion") == version
        if not is_ours or document.get("kind") not in kinds:
            which = f", object {number} of {len(present)}" if len(present) > 1 else ""
            raise UsageError(f"{path}{which}: expected apiVersion: {version} and kind: {' or '.join(kinds)}")
        documents.append(document)
    names = Counter((document["kind"], run_name(path, document)) for document in documents)
    for (kind, name), count in names.items():
        if count > 1:
            what = "runs" if kind == KIND else f"{kind}s"
            raise UsageError(f"{path}: {count} {what} have metadata.name: {name}; give each a different name")
    return documents


def _is_meant_for_us(document: object, kinds: Sequence[str]) -> bool:
    """Whether an object is of our group or of one of the `kinds`, perhaps with a mistake in the other."""
    if not isinstance(document, dict):
        return False
    return document.get("kind") in kinds or str(document.get("apiVersion")).partition("/")[0] == GROUP
