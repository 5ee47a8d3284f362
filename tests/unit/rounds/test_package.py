"""The rounds since v0.7 against mlperf_logging: names, counts, targets, rules of hyperparameters, reference points."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

mlperf_logging = pytest.importorskip("mlperf_logging")

from mlperf_logging.benchmark_meta import get_allowed_benchmarks, get_result_file_counts  # noqa: E402
from mlperf_logging.rcp_checker.rcp_checker import RCP_Checker  # noqa: E402
from tools import new_round  # noqa: E402

from podium.rounds import Hyperparameter, Round, load_rounds, round_number  # noqa: E402
from podium.scoring.convergence import floor_at  # noqa: E402

CHECKER = Path(mlperf_logging.__file__).parent / "compliance_checker"
LATER = [round_ for name, round_ in load_rounds().items() if round_number(name) >= (0, 7)]
OF_LATER = [pytest.param(round_, name, id=f"{round_.name}-{name}") for round_ in LATER for name in round_.benchmarks]
KEPT = {"v3.0": {"dlrm"}, "v5.1": {"bert"}}  # its checker has rules for them, but the package's lists do not name them


def ruleset(round_: Round) -> str:
    return f"{round_.name.removeprefix('v')}.0"


def rule_file(round_: Round, name: str) -> Path:
    return CHECKER / f"training_{ruleset(round_)}" / name


def checks(round_: Round, rule: Hyperparameter, key: str) -> list[str]:
    """Return the checker's expressions for a value of the key, from the place that the rule names."""
    file, _, line = rule.source.partition(":")
    path = rule_file(round_, file)
    assert path.read_text().splitlines()[int(line) - 1].split() == ["NAME:", key]
    records = [record["KEY"] for record in yaml.safe_load(path.read_text()) if "KEY" in record]
    found = next(record for record in records if record["NAME"] == key).get("CHECK") or []
    return [found] if isinstance(found, str) else found


def test_every_round_of_the_package_is_here() -> None:
    known = {f"v{path.name.removeprefix('training_').removesuffix('.0')}" for path in CHECKER.glob("training_?.?.0")}
    assert known == {*load_rounds()} - {"v0.5"}


@pytest.mark.parametrize("round_", LATER, ids=lambda round_: round_.name)
def test_a_round_has_the_benchmarks_of_the_package(round_: Round) -> None:
    assert set(round_.benchmarks) == {*get_allowed_benchmarks("training", ruleset(round_)), *KEPT.get(round_.name, ())}
    counts = get_result_file_counts("training")
    assert {name: entry.runs for name, entry in round_.benchmarks.items()} == {n: counts[n] for n in round_.benchmarks}
    dropped = {n: (b.drop_fastest, b.drop_slowest, b.max_failures) for n, b in round_.benchmarks.items()}
    assert dropped == {name: (4, 4, 4) if name == "unet3d" else (1, 1, 1) for name in round_.benchmarks}
    assert round_.clock.max_init_seconds == new_round._init_seconds(rule_file(round_, "common.yaml").parent)


@pytest.mark.parametrize(("round_", "name"), OF_LATER)
def test_a_target_is_that_of_the_checker(round_: Round, name: str) -> None:
    lines = rule_file(round_, f"closed_{name}.yaml").read_text().splitlines()
    rules = "\n".join(line for line in lines if "ATLEAST_ONE" in line or "'target_" in line)
    assert round_.benchmarks[name].quality
    for quality in round_.benchmarks[name].quality:
        target = rf"{quality.target}0*\b"
        passes = rf"<= {target}" if quality.lower_is_better else rf">= {target}|{target} <= v|'target_\w+': {target}"
        assert re.search(passes, rules), rules


@pytest.mark.parametrize(("round_", "name"), OF_LATER)
def test_a_hyperparameter_has_the_rule_of_the_checker(round_: Round, name: str) -> None:
    """What our rule allows passes the checker's, which is Python: here, trusted text of an installed package."""
    tunable, fixed = new_round._settings(rule_file(round_, "common.yaml").parent, name)
    entry = round_.benchmarks[name]
    assert (set(entry.tunable), set(entry.fixed)) == (set(tunable), set(fixed))
    batch = 1152
    state = {"global_batch_size": batch, "lr_min": 0.5e-6 * batch / 8192, "lr_max": 1.5e-6 * batch / 8192,
             "learning_rate": 1.0e-6 * (batch / 256) ** 0.5, "opt_learning_rate_warmup_steps": 4,
             "eval_interval_samples": math.ceil(262144 / batch) * batch}  # fmt: skip
    names = {"s": state, "math": math, "is_integer": lambda number: float(number).is_integer()}
    settings = {"global_batch_size": batch}
    for key, rule in entry.ruled.items():
        expressions = [
            text for text in checks(round_, rule, key) if "metadata" not in text and "num_prompts" not in text
        ]
        tried = [rule.nearest(value, settings) for value in candidates(rule)]
        assert tried, key
        for value in (value for value in tried if value is not None):
            assert rule.allows(value, settings), (key, value)
            for text in expressions:
                wanted = text.lower() if isinstance(value, str) else text  # logs are compared in lowercase
                assert eval(wanted.strip(), {**names, "v": {"value": value}}), (key, value, text)
        if key in entry.fixed:
            assert len(rule.rule.values) == 1, key
            assert not rule.allows("another" if rule.type == "string" else 12345, settings), key


def candidates(rule: Hyperparameter) -> list[Any]:
    if rule.type == "string":
        return ["adam", "adamw", "sgd", "lars"] if rule.rule.kind == "oneOf" else ["any"]
    if rule.type == "boolean":
        return [True]
    numbers = [1, 2, 16, 50, 1000, 15360, 20000] if rule.type == "integer" else [1e-7, 3e-5, 0.0004, 0.02, 0.5, 1, 50]
    return [[40, 50], [128.0, 128.0]] if rule.type == "numbers" else numbers


@pytest.mark.parametrize(("round_", "name"), OF_LATER)
def test_the_reference_points_are_those_of_the_checker(round_: Round, name: str) -> None:
    """Batch sizes, means, and the mean from which a result passes, to the last digit of MLCommons' bisection."""
    entry = round_.benchmarks[name]
    sizes = [point.batch_size for point in entry.reference_points]
    between = [(a + b) // 2 for a, b in pairwise(sizes)]
    without = round_number(round_.name) < (1, 0) or name in ("dlrm", "minigo")  # it has no count of runs for them
    points = None if without else RCP_Checker("training", ruleset(round_), name, verbose=False)
    assert bool(sizes) == bool(points), name
    for size in (1, *sizes, *between, sizes[-1] + 1) if sizes else ():
        found, record = floor_at(round_.name, name, entry, size), record_at(points, size)
        if record is None:
            assert found is None, size
            continue
        later = name == "llama31_405b" and round_number(round_.name) >= (5, 0)
        least = record["Min Epochs"] - (46_080 if later else 0)
        assert (found.point.mean, found.least) == (pytest.approx(record["RCP Mean"]), pytest.approx(least)), size


def record_at(points: RCP_Checker, size: int) -> Mapping[str, Any] | None:
    """What rcp_checker.check_directory compares with."""
    if exact := points._find_rcp(size, "pruned_rcps"):
        return exact
    below, above = points._find_top_min_rcp(size, "pruned_rcps"), points._find_bottom_max_rcp(size, "pruned_rcps")
    if below and above:
        return points._create_interp_rcp(size, below, above)[1]
    return points._find_min_rcp("pruned_rcps") if above else None
