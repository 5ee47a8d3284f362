"""``podium validate``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from podium.api import KIND, BenchmarkRunSpec
from podium.api.sweep import SWEEP_KIND, BenchmarkSweepSpec
from podium.cli.errors import UsageError
from podium.cli.files import SpecError, parse_spec, parse_sweep, read_documents, read_folder, run_name
from podium.cli.output import Json, console, print_findings, print_json, print_line
from podium.rounds import load_rounds
from podium.rules import Finding, check_admission, check_spec, check_sweep

_OR_THE_CHART = ", unless the chart's values do (trainer.submission)"


def validate(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH...",
            help="Files with BenchmarkRuns or BenchmarkSweeps, or folders of them, as kubectl apply -f takes them.",
        ),
    ],
    as_json: Json = False,
) -> None:
    """Check BenchmarkRuns and BenchmarkSweeps before they are applied.

    Checks fields, round and division as the API server and the operator do, but not what a cluster's administrator
    allows (trainer.allow in the chart's values). The template of a sweep is checked as the spec of a run is. Objects
    of other groups are skipped. Exits with 1 if any of them would be rejected.
    """
    checked = [(file, *_validated(file, document)) for path in paths for file, document in _objects(path)]
    if as_json:
        print_json(
            [
                {"name": name, "file": str(file), "findings": [finding.document() for finding in findings]}
                for file, name, _, findings in checked
            ]
        )
    else:
        out = console()
        for file, name, spec, findings in checked:
            if findings and len(checked) > 1:
                print_line(out, f"{file}: {name}:")
            print_findings(out, findings)
            if spec and not findings:
                print_line(out, f"{file}: {name} would be {_admitted(spec)}")
    raise typer.Exit(1 if any(findings for *_, findings in checked) else 0)


def _objects(path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield each run and sweep in a file, or in the files of a folder, with its file."""
    kinds = (KIND, SWEEP_KIND)
    if path.is_dir():
        found = read_folder(path, kinds)
    else:
        found = {path: read_documents(path, kinds, among_others=True)}
        if not found[path]:
            raise UsageError(f"{path}: it has no {' and no '.join(kinds)}")
    for file, documents in found.items():
        for document in documents:
            yield file, document


def _validated(
    file: Path, document: dict[str, Any]
) -> tuple[str, BenchmarkRunSpec | BenchmarkSweepSpec | None, tuple[Finding, ...]]:
    """The name of a run or sweep, its spec (None if it cannot be read), and all findings."""
    name = run_name(file, document)
    try:
        if document["kind"] == SWEEP_KIND:
            sweep = parse_sweep(file, document)
            return name, sweep, check_sweep(sweep, load_rounds())
        spec = parse_spec(file, document)
    except SpecError as error:
        return name, None, error.findings
    return name, spec, (*check_admission(name, spec), *check_spec(spec, load_rounds()))


def _admitted(spec: BenchmarkRunSpec | BenchmarkSweepSpec) -> str:
    """What would become of a run or sweep without findings."""
    if isinstance(spec, BenchmarkSweepSpec):
        run = BenchmarkRunSpec.model_validate(spec.template)
        return f"made into runs of {run.round} {run.benchmark}, {run.division} division, over {spec.over}"
    notes = (
        f"admitted to {spec.round} {spec.benchmark}, {spec.division} division",
        not_submitted(spec, _OR_THE_CHART),
    )
    return "; ".join(filter(None, notes))


def not_submitted(spec: BenchmarkRunSpec, default: str = "") -> str:
    """Why no result of the run can be submitted, in a few words; "" if one can.

    `default`: where else the submitter may be named.
    """
    if spec.division == "open":
        return ""
    benchmark = load_rounds()[spec.round].benchmarks.get(spec.benchmark)
    if benchmark is not None and benchmark.suspended:
        return f"{spec.round} suspended {spec.benchmark}: its result cannot be submitted"
    if spec.submission.org is None:
        return (
            f"its logs will name no submitter: to submit the result, set spec.submission.org and .status first{default}"
        )
    return ""
