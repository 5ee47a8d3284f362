"""Checks a spec against its round: what the API server cannot check, or an older CRD accepted."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping

from podium.api import BenchmarkRunSpec
from podium.rounds import BATCH, Benchmark, Round, vocabulary
from podium.rules.catalog import RuleId
from podium.rules.findings import Finding
from podium.rules.hyperparameters import closed_breach, open_breach


def check_spec(spec: BenchmarkRunSpec, rounds: Mapping[str, Round]) -> tuple[Finding, ...]:
    """Return all findings on `spec`; the run is admitted if there are none."""
    round_ = rounds.get(spec.round)
    if round_ is None:
        message = f"unknown round {spec.round!r}; choose one of {', '.join(sorted(rounds))}"
        return (Finding(RuleId.SPEC_ROUND_UNKNOWN, "spec.round", message),)
    benchmark = round_.benchmarks.get(spec.benchmark)
    return (*_benchmark(spec, round_, benchmark), *_division(spec), *_hyperparameters(spec, round_, benchmark))


def _benchmark(spec: BenchmarkRunSpec, round_: Round, benchmark: Benchmark | None) -> Iterator[Finding]:
    if benchmark is None:
        if spec.division != "open" or spec.template.image is None or spec.quality is None:
            message = (
                f"{round_.name} has no {spec.benchmark!r}{_did_you_mean(spec.benchmark, round_.benchmarks)}; "
                f"choose one of {', '.join(round_.benchmarks)}, or set division: open, template.image "
                "and quality.target for a custom one"
            )
            yield Finding(RuleId.SPEC_BENCHMARK_UNKNOWN, "spec.benchmark", message)
        return
    if benchmark.trainer is None and spec.template.image is None:
        message = f"Podium has no trainer for {round_.name} {spec.benchmark}"
        remedy = "set template.image to an image that implements it"
        yield Finding(RuleId.SPEC_BENCHMARK_TRAINER, "spec.benchmark", message, remedy=remedy)
    if spec.quality:
        given, asked = len(spec.quality.target.split("/")), len(benchmark.quality)
        if given != asked:
            metrics = "/".join(quality.metric for quality in benchmark.quality)
            message = f"{spec.benchmark} has {asked} quality metric(s), {metrics}; {spec.quality.target!r} has {given}"
            yield Finding(RuleId.SPEC_QUALITY_METRICS, "spec.quality.target", message)


def _division(spec: BenchmarkRunSpec) -> Iterator[Finding]:
    if spec.division == "open":
        return
    if spec.quality:
        message = "a closed run stops at the round's target; remove quality, or use division: open"
        yield Finding(RuleId.SPEC_QUALITY_CLOSED, "spec.quality.target", message)
    if spec.preset != "full":
        message = f"{spec.preset} is not the benchmark itself; use it with division: open, or use preset: full"
        yield Finding(RuleId.SPEC_PRESET_CLOSED, "spec.preset", message)


def _hyperparameters(spec: BenchmarkRunSpec, round_: Round, benchmark: Benchmark | None) -> Iterator[Finding]:
    if not spec.hyperparameters:  # every reconciliation asks
        return
    own = benchmark.ruled if benchmark else {}  # a round from an extra file may have more keys
    known = {**own, **vocabulary()}
    for key, value in spec.hyperparameters.items():
        field = f"spec.hyperparameters.{key}"
        if key not in known:
            if spec.template.image is None:
                message = f"not an MLPerf hyperparameter{_did_you_mean(key, known)}; a custom image may define it"
                yield Finding(RuleId.SPEC_HYPERPARAMETERS_UNKNOWN, field, message)
        elif spec.division == "open":
            if wrong := open_breach(known[key], value):
                yield Finding(RuleId.SPEC_HYPERPARAMETERS_VALUE, field, wrong)
        elif benchmark:
            yield from _official(spec, round_, benchmark, key)


def _official(spec: BenchmarkRunSpec, round_: Round, benchmark: Benchmark, key: str) -> Iterator[Finding]:
    """Check a hyperparameter of a closed or out-of-the-box run."""
    field = f"spec.hyperparameters.{key}"
    if spec.division == "outOfTheBox" and key != BATCH:
        message = f"not tunable out of the box; leave it out: such a run may set only {BATCH}"
        yield Finding(RuleId.SPEC_HYPERPARAMETERS_OUT_OF_THE_BOX, field, message)
    elif key not in benchmark.tunable:
        fixed = benchmark.fixed.get(key)
        stays = f", where it is {fixed.allowed({})}" if fixed else ""
        message = (
            f"not tunable in the closed division of {spec.round} {spec.benchmark}{stays}; "
            f"tunable: {', '.join(sorted(benchmark.tunable)) or 'none'}"
        )
        yield Finding(RuleId.SPEC_HYPERPARAMETERS_CLOSED, field, message)
    else:
        optimizer = benchmark.tunable.get("opt_name")
        settings = {"opt_name": optimizer and optimizer.reference, **spec.hyperparameters}
        if breach := closed_breach(benchmark.tunable[key], spec.hyperparameters[key], settings, round_):
            yield Finding(breach.rule, field, breach.message, remedy=breach.remedy)


def _did_you_mean(word: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else ""
