"""Read BenchmarkRuns from a file, with errors for the person who wrote it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from podium.api import GROUP, KIND, VERSION, BenchmarkRunSpec
from podium.cli.errors import UsageError
from podium.documents import MAX_YAML_BYTES, DocumentError, file_bytes, read_yaml
from podium.rounds import load_rounds
from podium.rules import Finding, check_spec
from podium.rules.catalog import RuleId

_FIELDS = frozenset(field.alias or name for name, field in BenchmarkRunSpec.model_fields.items())


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
        raise SpecError(path, map(_mistake, error.errors())) from error


def _mistake(error: ErrorDetails) -> Finding:
    """A pydantic error as a finding, in kubectl's words."""
    words = {"extra_forbidden": "unknown field", "missing": "is missing", "model_type": "expected fields"}
    place = list(map(str, error["loc"]))
    remedy = ""
    if error["type"] == "extra_forbidden" and len(place) > 1 and place[-1] in _FIELDS:
        remedy = f"set spec.{place[-1]}"
    return Finding(RuleId.SPEC_FORM, ".".join(["spec", *place]), words.get(error["type"], error["msg"]), remedy=remedy)


def read_document(path: Path) -> dict[str, Any]:
    """The only object in `path`, which must be a BenchmarkRun."""
    documents = read_documents(path)
    if len(documents) > 1:
        raise UsageError(f"{path} contains {len(documents)} runs: run one at a time; move it to its own file")
    return documents[0]


def read_documents(path: Path) -> list[dict[str, Any]]:
    """All objects in `path`: one or more BenchmarkRuns with distinct names."""
    try:
        read = read_yaml(file_bytes(path, MAX_YAML_BYTES), str(path))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; name a file with a BenchmarkRun") from error
    except DocumentError as error:
        raise UsageError(str(error)) from error
    documents = [document for document in read if document is not None]
    expected = (f"{GROUP}/{VERSION}", KIND)
    for number, document in enumerate(documents or [None], start=1):
        if not isinstance(document, dict) or (document.get("apiVersion"), document.get("kind")) != expected:
            which = f", object {number} of {len(documents)}" if len(documents) > 1 else ""
            raise UsageError(f"{path}{which}: expected apiVersion: {expected[0]} and kind: {expected[1]}")
    for name, count in Counter(run_name(path, document) for document in documents).items():
        if count > 1:
            raise UsageError(f"{path}: {count} runs have metadata.name: {name}; give each a different name")
    return documents
