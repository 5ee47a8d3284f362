"""Checks a sweep, and the runs that would be made of it, before any is made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from podium.api import BenchmarkRunSpec
from podium.api.sweep import BenchmarkSweepSpec, merged
from podium.rounds import Round
from podium.rules.admission import check_admission
from podium.rules.catalog import RuleId
from podium.rules.findings import Finding
from podium.rules.form import check_form
from podium.rules.spec import check_spec

_TTL = "ttlSecondsAfterFinished"


def check_sweep(spec: BenchmarkSweepSpec, rounds: Mapping[str, Round]) -> tuple[Finding, ...]:
    """Return all findings on `spec`; the sweep makes runs if there are none.

    What is wrong with the template is found as in a run, also where a variant changes it.
    """
    place = "spec.template"
    found = [*_verdict(spec), *_variants(spec), *_template(spec.template, place, rounds)]
    known = {(finding.field.removeprefix(place), finding.message) for finding in found}
    for variant in spec.variants:
        place = f"spec.variants.{variant.name}.patch"
        own = _template(merged(spec.template, variant.patch), place, rounds)
        found += [one for one in own if (one.field.removeprefix(place), one.message) not in known]
    return tuple(found)


def _verdict(spec: BenchmarkSweepSpec) -> Iterator[Finding]:
    verdict = spec.verdict
    if float(verdict.tolerance) >= 1:
        message = f"{verdict.tolerance} is not a ratio below 1"
        remedy = 'use "0.03" for 3 percent'
        yield Finding(RuleId.SPEC_SWEEP, "spec.verdict.tolerance", message, remedy=remedy)
    if verdict.max_runs < verdict.min_runs:
        message = f"{verdict.max_runs} is less than minRuns, {verdict.min_runs}"
        yield Finding(RuleId.SPEC_SWEEP, "spec.verdict.maxRuns", message)


def _variants(spec: BenchmarkSweepSpec) -> Iterator[Finding]:
    for name, count in Counter(variant.name for variant in spec.variants).items():
        if count > 1:
            message = f"{count} variants have this name; give each a different one"
            yield Finding(RuleId.SPEC_SWEEP, f"spec.variants.{name}", message)


def _template(template: Any, place: str, rounds: Mapping[str, Round]) -> Iterator[Finding]:
    """Yield what is wrong with the spec of the runs; `place` takes the place of "spec" in the names of fields."""
    if isinstance(template, dict) and _TTL in template:
        message = "a sweep needs its runs, and they are deleted with it; leave it out"
        yield Finding(RuleId.SPEC_SWEEP, f"{place}.{_TTL}", message)
    try:
        spec = BenchmarkRunSpec.model_validate(template)
    except ValidationError as error:
        yield from check_form(error, place)
        return
    for finding in (*check_admission("run", spec), *check_spec(spec, rounds)):
        yield replace(finding, field=place + finding.field.removeprefix("spec"))
