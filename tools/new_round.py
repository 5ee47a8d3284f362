"""Draft the file of a round from the rules that mlperf_logging has for it.

    python -m tools.new_round v6.1 > operator/podium/rounds/v6.1.yaml

Runs, hyperparameters with their rules and sources, and reference convergence points are the package's. What it does not
know (models, data sets, evaluation schedules, our trainers) is taken from the round before, or marked TODO. The file is
then ours: complete it by hand; tests/unit/rounds/test_package.py compares it with the package from then on.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlperf_logging
import yaml
from mlperf_logging.benchmark_meta import get_allowed_benchmarks, get_result_file_counts
from mlperf_logging.rcp_checker.rcp_checker import RCP_Checker, submission_runs

from podium.rounds import load_rounds, round_number, vocabulary

PACKAGE = Path(mlperf_logging.__file__).parent
CARRIED = ("title", "trainer", "model", "dataset", "variant", "quality", "drop_fastest", "drop_slowest",
           "max_failures", "eval_every", "note", "published")  # fmt: skip
# Keys of the rule files that are no settings of a run
NO_SETTINGS = frozenset({
    "submission_benchmark", "eval_accuracy", "aggregated_eval_accuracy", "eval_samples", "train_samples", "seed",
    "weights_initialization", "block_start", "block_stop", "actual_selfplay_games_per_generation"})  # fmt: skip
# Settings that follow from others, which MLCommons' checker compares, or the rules do
DERIVED = frozenset({"opt_end_learning_rate", "opt_sparse_base_learning_rate"})
DERIVED_BY = {
    ("gpt3", "opt_learning_rate_decay_steps"), ("llama31_405b", "opt_learning_rate_decay_steps"),
    ("llama31_405b", "opt_learning_rate_warmup_steps"), ("llama31_8b", "opt_learning_rate_decay_steps"),
    ("gpt_oss_20b", "opt_learning_rate_decay_steps"), ("deepseekv3_671b", "opt_learning_rate_decay_steps")}  # fmt: skip
# Rules that depend on other lines of the log
FORMULAS: Mapping[tuple[str, str], dict[str, Any]] = {
    ("ssd", "opt_learning_rate_decay_boundary_epochs"): {"kind": "stretchedSchedule", "boundaries": [40, 50]},
    ("unet3d", "opt_learning_rate_decay_boundary_epochs"): {"kind": "unconstrained"},  # empty without a decay
    ("dlrmv4", "opt_base_learning_rate"): {
        "kind": "scaledWithBatch", "base": 1.0e-6, "per_batch": 8192, "lowest": 0.5, "highest": 1.5},
    ("qwen35_397b_grpo", "opt_base_learning_rate"): {
        "kind": "scaledWithBatch", "base": 1.0e-6, "per_batch": 256, "power": 0.5, "decimals": 9},
    ("qwen35_397b_grpo", "opt_gradient_clip_norm"): {
        "kind": "scaledWithBatch", "base": 0.125, "per_batch": 256, "power": -0.5, "decimals": 9},
}  # fmt: skip
# Settings that have another type than the vocabulary's
TYPED: Mapping[tuple[str, str], dict[str, Any]] = {
    ("maskrcnn", "opt_learning_rate_decay_steps"): {
        "type": "numbers", "rule": {"kind": "range", "minimum": 0},
        "description": "The two steps at which the learning rate drops."},
}  # fmt: skip
_V = r"v\['value'\]"
_BATCH = r"s\['global_batch_size'\]"
_NUMBER = r"([0-9.e+-]+)"


def draft(name: str, earlier: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines of the file of round `name`; `earlier` has what is carried over, by benchmark."""
    ruleset = f"{name.removeprefix('v')}.0"
    rules = PACKAGE / "compliance_checker" / f"training_{ruleset}"
    names = [*dict.fromkeys(get_allowed_benchmarks("training", ruleset))]
    names += [each for each in earlier if each not in names and (rules / f"closed_{each}.yaml").exists()]
    yield "# Drafted by tools/new_round.py; edited by hand since. Hyperparameters whose type is not here are as in"
    yield "# vocabulary.yaml. `fixed` ones are those that the checker compares with one value."
    yield f"name: {name}"
    yield f"description: MLPerf Training {name}"
    yield "until: TODO  # publication: no log of the round is later"
    yield "documents:"
    yield f"  closed_*.yaml: mlperf_logging {version('mlperf-logging')} compliance_checker/training_{ruleset}"
    yield "  training_rules.adoc: TODO"
    yield "log_format: mllog"
    yield "first_epoch: 1"
    yield "clock:"
    yield "  start: when any part of the system first touches the data set (run_start)"
    yield (
        "  stop: when any part of the system determines that the target is reached (run_stop); never paused, "
        "evaluation included"
    )
    yield "  model_creation_timed: false"
    yield f"  max_init_seconds: {_init_seconds(rules)}"
    yield f"  source: {ruleset} compliance checker"
    yield "benchmarks:"
    for benchmark in names:
        yield from _benchmark(ruleset, benchmark, rules, earlier.get(benchmark, {}))


def _benchmark(ruleset: str, name: str, rules: Path, earlier: Mapping[str, Any]) -> Iterator[str]:
    values: dict[str, Any] = {key: earlier[key] for key in CARRIED if key in earlier}
    for key in ("title", "model", "dataset", "quality", "eval_every"):
        values.setdefault(key, "TODO")
    values["runs"] = get_result_file_counts("training")[name]
    tunable, fixed = _settings(rules, name)
    if points := _reference_points(ruleset, name):
        values["reference_points"] = points
    yield f"  {name}:"
    order = ("title", "trainer", "model", "variant", "dataset", "quality", "runs", "drop_fastest", "drop_slowest",
             "max_failures", "eval_every", "note", "published", "reference_points")  # fmt: skip
    for key in order:
        if key in values:
            yield f"    {key}: {flow(values[key])}"
    for kind, entries in (("tunable", tunable), ("fixed", fixed)):
        if entries:
            yield f"    {kind}:"
            for key, entry in entries.items():
                yield f"      {key}: {flow(entry)}"


def _settings(rules: Path, benchmark: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the tunable settings of a benchmark and the fixed ones."""
    tunable: dict[str, Any] = {}
    fixed: dict[str, Any] = {}
    files = [f"closed_{benchmark}.yaml", *sorted(p.name for p in rules.glob(f"closed_{benchmark}_*.yaml")
                                                if p.stem != "closed_dlrm_dcnv2"), "closed_common.yaml"]  # fmt: skip
    for file in files:
        lines = (rules / file).read_text().splitlines()
        for record in yaml.safe_load("\n".join(lines)):
            key = record.get("KEY", {}).get("NAME")
            if not key or key in NO_SETTINGS | DERIVED or (benchmark, key) in DERIVED_BY or key in tunable | fixed:
                continue
            line = next(n for n, text in enumerate(lines, 1) if text.split()[:2] == ["NAME:", key])
            checks = record["KEY"].get("CHECK") or ""
            found = rule(benchmark, key, checks if isinstance(checks, str) else checks[0])
            entry = {
                "source": f"{file}:{line}",
                **({"rule": found} if found else {}),
                **TYPED.get((benchmark, key), {}),
            }
            is_fixed = found is not None and found["kind"] == "oneOf" and len(found["values"]) == 1
            (fixed if is_fixed else tunable)[key] = entry
    return tunable, fixed


def rule(benchmark: str, key: str, check: str) -> dict[str, Any] | None:
    """Return the rule of a CHECK, an expression of Python; None if the vocabulary's own says no less."""
    if (benchmark, key) in FORMULAS:
        return FORMULAS[benchmark, key]
    text = " ".join(check.split()).replace("float('inf')", ".inf")
    if not text or text.startswith(("isinstance", "len(")):
        return None
    if match := re.fullmatch(rf"(?:is_integer\({_V}\) and )?{_V} (>=|>) {_NUMBER}", text):
        return _range(key, match[1], float(match[2]))
    for pattern, made in KINDS:
        if match := re.fullmatch(pattern, text):
            return made(match)
    raise SystemExit(f"{benchmark} {key}: no kind of rule for {text!r}; add it to FORMULAS, or a kind")


def _range(key: str, sign: str, bound: float) -> dict[str, Any] | None:
    """Return a range, if it is not the vocabulary's: some allow a rate or a batch of 0."""
    known = vocabulary()[key].rule
    least = getattr(known, "minimum", None), getattr(known, "exclusive_minimum", None)
    if any(own is not None and own >= bound for own in least):
        return None
    if vocabulary()[key].type == "integer":
        return {"kind": "range", "minimum": int(bound) + (sign == ">")}
    return {"kind": "range", "minimum" if sign == ">=" else "exclusive_minimum": bound}


def _values(found: list[Any]) -> list[Any]:
    return [value.lower() if isinstance(value, str) else value for value in found]  # as logs are compared


def _decimal(text: str) -> str:
    """Return a number as YAML reads it: 1.0e-8 for 1e-8."""
    return re.sub(r"^(\d+)e", r"\1.0e", text)


def _either(match: re.Match[str]) -> dict[str, Any]:
    found = re.findall(rf"{_V} == ('[^']*'|\S+)", match[0])
    return {"kind": "oneOf", "values": _values([yaml.safe_load(_decimal(value)) for value in found])}


def _multiple(match: re.Match[str]) -> dict[str, Any]:
    below = {"fraction_below": int(match[2])} if match[2] else {}
    return {"kind": "multiple", "of": float(match[1]), **below}


def _square_root(match: re.Match[str]) -> dict[str, Any]:
    base, batch = float(match[1]), int(match[2])
    return {"kind": "scaledWithBatch", "base": base, "per_batch": batch, "power": 0.5, "decimals": 9}


KINDS: Sequence[tuple[str, Callable[[re.Match[str]], dict[str, Any]]]] = (
    (rf"{_V} in (\[.*\])", lambda match: {"kind": "oneOf", "values": _values(yaml.safe_load(match[1]))}),
    (rf"{_V} == '[^']*'|{_V} == \S+?( or {_V} == \S+)*", _either),
    (rf"is_integer\({_V} / {_NUMBER}\)(?: or \( {_BATCH} < (\d+) and .*\))?", _multiple),
    (rf"is_integer\(math.log2\({_V} / {_NUMBER}\)\)", lambda match: {"kind": "powerOfTwo", "times": float(match[1])}),
    (rf"{_V} \* (\d+) == {_BATCH} \* {_NUMBER}",
     lambda match: {"kind": "scaledWithBatch", "base": float(match[2]), "per_batch": int(match[1])}),
    (rf"abs\({_V} - {_NUMBER} \* \({_BATCH} / (\d+)\) \*\* 0.5\) < 1e-9", _square_root),
)  # fmt: skip


def _init_seconds(rules: Path) -> int:
    text = (rules / "common.yaml").read_text()
    minutes = re.search(r"\((\d+)\*60\*1e3\)|== 'open' else (\d+)", text)
    if minutes is None:
        raise SystemExit(f"{rules}/common.yaml: no limit of the initialization found")
    return 60 * int(minutes[1] or minutes[2])


def _reference_points(ruleset: str, benchmark: str) -> list[list[float]]:
    """Return batch sizes, means, deviations and numbers of runs in the means: pruned and sorted."""
    file = PACKAGE / "rcp_checker" / f"training_{ruleset}" / f"rcps_{benchmark}.json"
    if not file.exists() or benchmark not in submission_runs["training"]:  # it has points of DLRM, but no count of runs
        return []
    points = RCP_Checker("training", ruleset, benchmark, verbose=False).pruned_rcp_data.values()
    dropped = 8 if benchmark == "unet3d" else 2
    return sorted(
        [point["BS"], float(point["RCP Mean"]), float(point["RCP Stdev"]), len(point["Epochs to converge"]) - dropped]
        for point in points
    )


def flow(value: Any) -> str:
    """Return YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=100_000, allow_unicode=True)
    return text.removesuffix("...\n").strip()


def _earlier(name: str) -> dict[str, dict[str, Any]]:
    """Return the benchmarks of the round before."""
    rounds = load_rounds()
    before = [round_ for other, round_ in rounds.items() if round_number(other) < round_number(name)][-1]
    return {
        key: entry.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
        for key, entry in before.benchmarks.items()
    }


if __name__ == "__main__":
    print("\n".join(draft(sys.argv[1], _earlier(sys.argv[1]))))
