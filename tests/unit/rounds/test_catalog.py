"""The rounds as data: against the rules, and v0.6 against MLCommons' own checker."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import mlperf_logging.benchmark_meta
import pytest
import yaml
from mlperf_logging import compliance_checker
from pydantic import ValidationError

import podium_benchmarks
from podium.rounds import Hyperparameter, load_rounds, round_number, vocabulary
from podium.rules import check_spec, closed_breach
from tests.unit.reconcile import examples as ex

# benchmark: (targets, runs) by round; training_rules.adoc "Benchmarks" and "Benchmark Results" for v0.5
ROUNDS = {
    "v0.5": {
        "resnet": ({"top1": 0.749}, 5),
        "ssd": ({"mAP": 0.212}, 5),
        "maskrcnn": ({"BBOX": 0.377, "SEGM": 0.339}, 5),
        "gnmt": ({"bleu": 21.8}, 10),
        "transformer": ({"bleu": 25.0}, 10),
        "ncf": ({"hit_rate_at_10": 0.635}, 100),
        "minigo": ({"pro_move_prediction": 0.40}, 20),
    },
    "v0.6": {
        "resnet": ({"top1": 0.759}, 5),
        "ssd": ({"mAP": 0.230}, 5),
        "maskrcnn": ({"BBOX": 0.377, "SEGM": 0.339}, 5),
        "gnmt": ({"bleu": 24.0}, 10),
        "transformer": ({"bleu": 25.0}, 10),
        "ncf": ({"hit_rate_at_10": 0.635}, 10),
        "minigo": ({"win_rate": 0.50}, 10),
    },
}


@pytest.mark.parametrize("name", ROUNDS)
def test_targets_and_runs(name: str) -> None:
    round_ = load_rounds()[name]
    assert round_.name == name
    assert {key: (entry.targets, entry.runs) for key, entry in round_.benchmarks.items()} == ROUNDS[name]
    assert {(entry.drop_fastest, entry.drop_slowest) for entry in round_.benchmarks.values()} == {(1, 1)}


def test_clock_and_log() -> None:
    v05, v06 = load_rounds()["v0.5"], load_rounds()["v0.6"]
    assert (v05.clock.model_creation_timed, v05.clock.max_init_seconds) == (True, None)
    assert (v06.clock.model_creation_timed, v06.clock.max_init_seconds) == (False, 20 * 60)
    assert (v05.log_format, v05.first_epoch, v06.log_format, v06.first_epoch) == ("mlp-v0.5", 0, "mll", 1)


def test_exceptions_of_the_rounds() -> None:
    v05, v06 = load_rounds()["v0.5"].benchmarks, load_rounds()["v0.6"].benchmarks
    assert v05["ncf"].converged_runs == 50
    assert [key for key, entry in v06.items() if entry.suspended] == ["ncf"]
    assert [key for key, entry in v06.items() if entry.timed_by == "eval_result"] == ["minigo"]
    assert all(entry.timed_by == "run_stop" for entry in v05.values())


def test_v06_counts_runs_as_the_checker_does() -> None:
    counts = mlperf_logging.benchmark_meta._ALL_RESULT_FILE_COUNTS["training"]
    assert {key: entry.runs for key, entry in load_rounds()["v0.6"].benchmarks.items()} == {
        key: counts[key] for key in ROUNDS["v0.6"]
    }


CHECKED = ("resnet", "ssd", "maskrcnn", "gnmt", "transformer", "minigo")
_NO_HYPERPARAMETER = re.compile(r"submission_|cache_clear|init_|run_|epoch_|eval_|save_model")


RULE_FILES = Path(compliance_checker.__file__).parent / "training_0.6.0"


def checker_keys(benchmark: str) -> dict[str, str]:
    """The checker's hyperparameters of v0.6 with its check, a Python expression."""
    records = [
        record["KEY"] for record in yaml.safe_load((RULE_FILES / f"{benchmark}.yaml").read_text()) if "KEY" in record
    ]
    return {key["NAME"]: key["CHECK"] for key in records if not _NO_HYPERPARAMETER.match(key["NAME"])}


# What published entries chose although the checker does not ask for it
BEYOND_THE_CHECKER = {
    "resnet": {"label_smoothing", "lars_opt_end_learning_rate"},
    "ssd": {"opt_learning_rate_decay_boundary_steps"},
    "maskrcnn": {"opt_learning_rate_warmup_method", "opt_learning_rate_decay_boundary_steps"},
}


@pytest.mark.parametrize("benchmark", CHECKED)
def test_v06_lets_people_tune_what_the_checker_asks_for(benchmark: str) -> None:
    tunable = load_rounds()["v0.6"].benchmarks[benchmark].tunable
    checks = checker_keys(benchmark)
    assert set(tunable) == set(checks) | BEYOND_THE_CHECKER.get(benchmark, set())
    for key, check in checks.items():
        rule = tunable[key]
        if listed := re.search(r"in (\[.*\])", check):
            assert list(rule.rule.values) == yaml.safe_load(listed[1]), key
        elif "len" in check:
            assert rule.type == "numbers", key
            assert not closed_breach(rule, [1.0, 2.0], {}, load_rounds()["v0.6"]), key
            assert closed_breach(rule, [], {}, load_rounds()["v0.6"]), f"{key}: the checker wants one number at least"
        elif "> 0" in check:
            assert not rule.allows(0, {}), f"{key}: the checker requires more than 0"
            assert rule.allows(1, {}), key
        elif ">= 0" in check:
            assert rule.allows(0, {}), key
            assert not rule.allows(-1, {}), key
        elif "bool" in check:
            assert rule.type == "boolean", key


@pytest.mark.parametrize("benchmark", CHECKED)
def test_a_source_names_the_line_of_the_rule(benchmark: str) -> None:
    lines = (RULE_FILES / f"{benchmark}.yaml").read_text().splitlines()
    tunable = load_rounds()["v0.6"].benchmarks[benchmark].tunable
    for key, rule in ((key, tunable[key]) for key in checker_keys(benchmark)):
        file, _, line = rule.source.partition(":")
        assert (file, lines[int(line) - 1].split()) == (f"{benchmark}.yaml", ["NAME:", key])


def test_every_rule_has_an_id_of_its_own_and_a_source_in_a_document() -> None:
    for round_ in load_rounds().values():
        rules = [(b, rule) for b, benchmark in round_.benchmarks.items() for rule in benchmark.ruled.values()]
        ids = [rule.id for _, rule in rules]
        assert len(set(ids)) == len(ids)
        assert all(rule.id.startswith(f"{round_.name}.{b}.") for b, rule in rules)
        for _, rule in rules:
            document, _, line = rule.source.partition(":")
            assert round_.document(document), rule.id
            assert re.fullmatch(r"[0-9,]+", line), rule.id


def test_the_reference_keeps_the_closed_rules() -> None:
    for round_ in load_rounds().values():
        for benchmark in round_.benchmarks.values():
            ours = "opt_name" in benchmark.tunable and benchmark.tunable["opt_name"].reference
            own = {
                key: rule.reference
                for key, rule in benchmark.tunable.items()
                if rule.reference is not None and (not rule.optimizers or ours in rule.optimizers)
            }
            assert [closed_breach(benchmark.tunable[key], value, own, round_) for key, value in own.items()] == [
                None
            ] * len(own)


TRAINED = [
    (round_.name, name)
    for round_ in load_rounds().values()
    for name, benchmark in round_.benchmarks.items()
    if benchmark.trainer
]


def test_seven_benchmarks_of_v06_have_a_trainer() -> None:
    assert len([name for round_, name in TRAINED if round_ == "v0.6"]) == 7


@pytest.mark.parametrize(("round_", "name"), TRAINED)
def test_a_trainers_full_preset_is_the_reference(round_: str, name: str) -> None:
    """With the round's own defaults, as the launcher passes them: so nothing is tuned out of the box."""
    benchmark = load_rounds()[round_].benchmarks[name]
    full = vars(podium_benchmarks.benchmark(benchmark.trainer).presets["full"])
    values = {key: list(value) if isinstance(value, tuple) else value for key, value in full.items()} | dict(
        benchmark.defaults
    )
    assert set(benchmark.defaults) <= set(full)
    for key, rule in benchmark.ruled.items():
        if key in values and rule.reference is not None:
            assert values[key] == rule.reference, (round_, name, key)
        elif key in benchmark.fixed and key in values:
            assert rule.allows(values[key], {}), (round_, name, key)


def test_the_vocabulary_has_every_tunable_key_with_its_type() -> None:
    known = vocabulary()
    for round_ in load_rounds().values():
        for name, benchmark in round_.benchmarks.items():
            for key, rule in benchmark.tunable.items():
                assert known[key].type in {rule.type, "number or numbers"}, f"{round_.name} {name} {key}"
                assert known[key].description, key
    assert known["opt_base_learning_rate"].type == "number or numbers"  # v0.6 MiniGo has a list of them
    assert {"opt_momentum", "opt_weight_decay", "opt_epsilon"} <= set(known)


STARTS = {"minigo": "published_start", "ssd": "pretrained_backbone", "maskrcnn": "frozen_backbone"}


def findings(benchmark: str, division: str, key: str, value: Any) -> list[str]:
    spec = ex.spec(round="v0.6", benchmark=benchmark, division=division, preset="full", quality=None,
                   hyperparameters={key: value})  # fmt: skip
    return [finding.message for finding in check_spec(spec, load_rounds())]


@pytest.mark.parametrize(("benchmark", "key"), STARTS.items())
def test_only_an_open_run_may_start_from_random_weights(benchmark: str, key: str) -> None:
    """training_rules.adoc: a closed run starts as its reference does."""
    assert findings(benchmark, "open", key, False) == []
    assert findings(benchmark, "open", key, 0) == ["0 is not a boolean"]
    (closed,) = findings(benchmark, "closed", key, False)
    assert closed.startswith(f"not tunable in the closed division of v0.6 {benchmark}; tunable: ")
    (untuned,) = findings(benchmark, "outOfTheBox", key, False)
    assert untuned.startswith("not tunable out of the box")


def test_an_open_run_may_set_what_the_errors_of_trainers_name() -> None:
    sources = Path(podium_benchmarks.__file__).parent.rglob("*.py")
    texts = (re.sub(r'"\s*f?"', "", source.read_text()) for source in sources)  # parts of a text on several lines
    named = {key for text in texts for key in re.findall(r"--set ([a-z_]+)=", text)}
    assert set(STARTS.values()) | {"backbone_weights", "num_classes", "vocab_size"} == named
    assert named <= set(vocabulary())
    for benchmark, key in STARTS.items():
        assert podium_benchmarks.benchmark(benchmark).tunables[key] is bool


ROUND = """
name: v9.9
description: ours
log_format: mllog
first_epoch: 1
clock: {start: run_start, stop: run_stop, model_creation_timed: false}
benchmarks:
  digits:
    {title: Digits, model: small, dataset: digits, quality: [{metric: top1, target: 0.9}], runs: 3, eval_every: 1 epoch}
"""


def test_a_round_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "v9.9.yaml").write_text(ROUND)
    rounds = load_rounds(tmp_path)
    assert list(rounds) == [*load_rounds(), "v9.9"]
    assert rounds["v9.9"].benchmarks["digits"].targets == {"top1": 0.9}
    assert "v9.9" not in load_rounds()


def test_a_run_can_name_an_added_round(tmp_path: Path) -> None:
    v06 = load_rounds()["v0.6"].model_dump(mode="json")
    document = v06 | {"name": "v9.9", "benchmarks": {"resnet": v06["benchmarks"]["resnet"]}}
    document["benchmarks"]["resnet"]["quality"][0]["target"] = 0.8
    (tmp_path / "v9.9.yaml").write_text(yaml.safe_dump(document))
    rounds = load_rounds(tmp_path)
    assert rounds["v9.9"].benchmarks["resnet"].targets == {"top1": 0.8}
    assert check_spec(ex.spec(round="v9.9"), rounds) == ()


BROKEN = {
    "an unknown field": (ROUND.replace("runs: 3", "runs: 3, rnus: 4"), "rnus"),
    "no quality": (ROUND.replace("target: 0.9", "aim: 0.9"), "quality.0.target"),
    "no run": (ROUND.replace("runs: 3", "runs: 0"), "benchmarks.digits.runs"),
    "no YAML": ("name: [", "v9.9.yaml"),
    "no mapping": ("5", "v9.9.yaml"),
    "no text": ("\udcff", "v9.9.yaml"),
}


@pytest.mark.parametrize(("text", "named"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_named_with_its_field(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "v9.9.yaml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=re.escape(named)) as raised:
        load_rounds(tmp_path)
    assert str(path) in str(raised.value)


def test_rounds_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_rounds()["v0.6"].name = "v0.7"
    with pytest.raises(TypeError):
        vocabulary()["opt_new"] = Hyperparameter(type="number")  # type: ignore[index]


def test_rounds_are_in_the_order_of_their_numbers():
    assert [round_number(name) for name in ("v0.5", "v4.1", "v10.0", "lab", "v1.x")] == [
        (0, 5), (4, 1), (10, 0), (0, 0), (0, 0),
    ]  # fmt: skip
    names = list(load_rounds())
    assert names == sorted(names, key=round_number)
    assert names[:3] == ["v0.5", "v0.6", "v0.7"]
