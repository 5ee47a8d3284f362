"""Reading a BenchmarkRun from a file, with errors for the person who wrote it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from podium.api import GROUP, KIND, VERSION, BenchmarkRunSpec
from podium.rules import Finding, check_spec
from podium.suites import load_suites


class UsageError(Exception):
    """The command line or a file it names is wrong; the text says what to do."""


class SpecError(UsageError):
    """A spec is not of the form that the CRD asks for."""

    def __init__(self, path: Path, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__(f"{path} has mistakes:\n" + "\n".join(f"  {finding}" for finding in self.findings))


def read_run_file(path: Path) -> tuple[str, BenchmarkRunSpec]:
    """Name and spec of the BenchmarkRun in `path`, checked against its suite."""
    name, spec = read_spec(path)
    if findings := check_spec(spec, load_suites()):
        raise SpecError(path, findings)
    return name, spec


def read_spec(path: Path) -> tuple[str, BenchmarkRunSpec]:
    """Name and spec of the BenchmarkRun in `path`, of the right form and yet unchecked against its suite.

    Raises SpecError for another form.
    """
    document = read_document(path)
    try:
        spec = BenchmarkRunSpec.model_validate(document.get("spec") or {})
    except ValidationError as error:
        raise SpecError(path, map(_mistake, error.errors())) from error
    metadata = document.get("metadata")
    return str((metadata.get("name") if isinstance(metadata, dict) else None) or path.stem), spec


def _mistake(error: ErrorDetails) -> Finding:
    """One of pydantic's errors in the words of kubectl."""
    words = {"extra_forbidden": "there is no such field", "missing": "is missing", "model_type": "expected fields"}
    field = ".".join(map(str, ("spec", *error["loc"])))
    return Finding("spec.form", field, words.get(error["type"], error["msg"]))


def read_document(path: Path) -> dict[str, Any]:
    """The one object in `path`, which says that it is a BenchmarkRun."""
    try:
        document = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no text in UTF-8: {error}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is no YAML: {error}") from error
    expected = (f"{GROUP}/{VERSION}", KIND)
    if not isinstance(document, dict) or (document.get("apiVersion"), document.get("kind")) != expected:
        raise UsageError(f"{path}: expected one object with apiVersion: {expected[0]} and kind: {expected[1]}")
    return document
