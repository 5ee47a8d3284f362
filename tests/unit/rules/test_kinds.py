"""The kinds of closed rules: what each allows, and the nearest allowed value it names."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from podium.rounds import Hyperparameter, load_rounds, shown
from podium.rounds.kinds import Kind
from podium.rules import closed_breach
from podium.rules.hyperparameters import open_breach, plain_value, source, untuned_breach, wrong_type

V05 = load_rounds()["v0.5"]


def kind(**document):
    return TypeAdapter(Kind).validate_python(document)


RATE = {"kind": "scaledSgd", "bases": [0.1, 0.128], "per_batch": 256}
EPOCHS = {"kind": "stretchedSchedule", "boundaries": [30, 60, 80, 90]}
STEPS = {"kind": "stretchedSchedule", "boundaries": [160_000, 200_000], "per_batch": 32}
CANDIDATES = {"kind": "perSample", "values": [2000], "each": 1000}
EXPONENT = {"kind": "warmupFactor", "counts": "exponent"}
RATIO = {"kind": "warmupFactor", "counts": "ratio"}


@pytest.mark.parametrize(
    ("rule", "batch", "value", "nearest"),
    [
        # lr = r * r0: the rates of published v0.5 entries are allowed
        (RATE, 1664, 0.6, None),  # 6 x 0.1
        (RATE, 16640, 4.1, None),  # 41 x 0.1
        (RATE, 32768, 4.096, None),  # 32 x 0.128
        (RATE, 1664, 0.65, None),  # 0.1 * 1664 / 256: the reference's own at this batch size
        (RATE, None, 0.65, 0.64),  # 5 x 0.128
        (RATE, None, 0.33, 0.3),
        (RATE, None, 0.01, 0.1),  # r is a whole number, so not 0
        (RATE, None, -3.0, 0.1),
        # wr = r0 / (wb * 2^k)
        (EXPONENT, None, 3, None),
        (EXPONENT, None, 1.4, 1),
        (EXPONENT, None, -2, 0),
        (RATIO, None, 0, None),
        (RATIO, None, 0.875, None),
        (RATIO, None, 0.9, 0.875),
        (RATIO, None, 1 / 3, 0.5),
        # boundaries * (1 + k/10), rounded down, with one k
        (EPOCHS, None, [30, 60, 80, 90], None),
        (EPOCHS, None, [33, 66, 88, 99], None),  # k = 1
        (EPOCHS, None, [33, 66, 88], None),  # the last one lies beyond the end of the run
        (EPOCHS, None, [33, 66, 89], [33, 66, 88]),
        (EPOCHS, None, [31, 60, 80, 90], [30, 60, 80, 90]),
        (EPOCHS, None, [27, 54, 72], [30, 60, 80]),  # t is not below 1
        (EPOCHS, None, [1, 2, 3, 4, 5], [30, 60, 80, 90]),
        (STEPS, 32, [160_000, 200_000], None),
        (STEPS, 1216, [4210, 5263], None),  # 160000 * 32 / 1216 = 4210.5
        (STEPS, 1216, [4211, 5264], None),
        (STEPS, 1216, [4631, 5789], None),  # k = 1
        (STEPS, 1216, [4631, 5263], [4210, 5263]),  # not two stretches at once
        (STEPS, None, [176_000, 220_000], None),
        # 2000, or 1000 for each image that a rank holds
        (CANDIDATES, 48, 2000, None),
        (CANDIDATES, 48, 6000, None),  # NVIDIA: 48 images on 8 GPUs
        (CANDIDATES, 48, 48_000, None),
        (CANDIDATES, 48, 5000, 4000),
        (CANDIDATES, 48, 500, 1000),
        (CANDIDATES, None, 5000, None),
        ({"kind": "oneOf", "values": [0.86, 0.9]}, None, 0.9, None),
        ({"kind": "oneOf", "values": [0.86, 0.9]}, None, 0.95, 0.9),
        ({"kind": "oneOf", "values": ["adam", "lazy_adam"]}, None, "lazyadam", "lazy_adam"),
        ({"kind": "range", "minimum": 1}, None, 0, 1),
        ({"kind": "range", "minimum": 1}, None, 7, None),
        ({"kind": "unconstrained"}, None, -17.5, None),
    ],
)  # fmt: skip
def test_allowed_or_the_nearest_allowed(rule, batch, value, nearest):
    settings = {"global_batch_size": batch} if batch else {}
    made = kind(**rule)
    assert made.allows(value, settings) == (nearest is None)
    if nearest is not None:
        assert made.nearest(value, settings) == pytest.approx(nearest) if value != "lazyadam" else nearest


def test_no_value_is_nearest_to_an_open_bound():
    rule = kind(kind="range", exclusive_minimum=0)
    assert (rule.allows(0, {}), rule.nearest(0, {}), rule.allows(1e-300, {})) == (False, None, True)


@given(
    st.sampled_from([RATE, EXPONENT, RATIO, CANDIDATES, {"kind": "range", "minimum": 1}]),
    st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**30), 10**30),
    st.none() | st.integers(-3, 10**9) | st.booleans() | st.text(max_size=3),
)
def test_the_nearest_value_is_allowed_whatever_was_asked_for(rule, value, batch):
    made, settings = kind(**rule), {"global_batch_size": batch}
    nearest = made.nearest(value, settings)
    assert math.isfinite(nearest)
    assert made.allows(nearest, settings)
    assert made.text(settings)


@given(
    st.sampled_from([EPOCHS, STEPS]),
    st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**12), 10**12), min_size=1, max_size=6),
    st.none() | st.integers(1, 10**7),
)
def test_the_nearest_schedule_is_allowed(rule, value, batch):
    made, settings = kind(**rule), {"global_batch_size": batch}
    assert made.allows(made.nearest(value, settings), settings)


@given(st.integers(1, 10**4), st.integers(0, 60))
def test_every_whole_scale_and_stretch_is_allowed(r, k):
    assert kind(**RATE).allows(r * 0.1, {})
    assert kind(**RATE).allows(r * 0.128, {})
    assert kind(**EPOCHS).allows([boundary * (10 + k) // 10 for boundary in (30, 60, 80, 90)], {})


@pytest.mark.parametrize(
    "document",
    [
        {"kind": "formula", "text": "r * 0.1"},
        {"kind": "scaledSgd", "bases": "__import__('os')"},
        {"kind": "scaledSgd", "bases": []},
        {"kind": "range", "minimum": 0, "code": "print(1)"},
        {"minimum": 0},
    ],
)
def test_a_file_names_kinds_and_numbers_and_nothing_else(document):
    with pytest.raises(ValidationError):
        kind(**document)


@pytest.mark.parametrize(
    ("benchmark", "key", "settings", "message"),
    [
        ("resnet", "opt_base_learning_rate", {"opt_base_learning_rate": 0.33},
         ("0.33 is not allowed; allowed: 0.1 or 0.128, times a whole number, or that times global_batch_size / 256; "
         "the nearest allowed value is 0.3")),
        ("resnet", "opt_base_learning_rate", {"opt_base_learning_rate": 0.66, "global_batch_size": 1664},
         ("0.66 is not allowed; allowed: 0.1 or 0.128, times a whole number, or 0.65 or 0.832 (for 1664 samples), "
         "times one; the nearest allowed value is 0.65")),
        ("ssd", "opt_learning_rate_decay_boundary_steps",
         {"opt_learning_rate_decay_boundary_steps": [4000, 5000], "global_batch_size": 1216},
         ("[4000, 5000] is not allowed; allowed: [160000, 200000] steps of 32 samples (so [4210, 5263] of 1216), "
         "times 1 + k/10 for one whole number k of 0 or more, rounded down; the nearest allowed value is [4210, 5263]")),
        ("maskrcnn", "num_image_candidates", {"num_image_candidates": 1500},
         "1500 is not allowed; allowed: 2000, or 1000 times a whole number; the nearest allowed value is 2000"),
        ("maskrcnn", "opt_learning_rate_warmup_factor", {"opt_learning_rate_warmup_factor": 0.4},
         ("0.4 is not allowed; allowed: 1 - 1/2^k for a whole number k: 0, 0.5, 0.75, 0.875, ...; or the reference's "
         "0.333333; the nearest allowed value is 0.5")),
        ("ncf", "opt_name", {"opt_name": "sgd"},
         "'sgd' is not allowed; allowed: adam or lazy_adam; the nearest allowed value is adam"),
        ("ncf", "opt_base_learning_rate", {"opt_base_learning_rate": 0.0},
         "0 is not allowed; allowed: number, more than 0"),
        ("ssd", "max_samples", {"max_samples": 0.5}, "0.5 is not an integer"),
        ("ssd", "opt_learning_rate_decay_boundary_steps", {"opt_learning_rate_decay_boundary_steps": [1, "x"]},
         "'x' is not a number"),
        ("ssd", "opt_learning_rate_decay_boundary_steps", {"opt_learning_rate_decay_boundary_steps": [1, None]},
         "None is not a number"),
        ("ssd", "opt_base_learning_rate", {"opt_base_learning_rate": math.nan}, "nan is not a number"),
        ("ssd", "opt_base_learning_rate", {"opt_base_learning_rate": 10**400}, f"1{'0' * 79}... is not a number"),
    ],
)  # fmt: skip
def test_a_breach_says_the_allowed_set_and_the_nearest_allowed_value(benchmark, key, settings, message):
    rule = V05.benchmarks[benchmark].tunable[key]
    breach = closed_breach(rule, settings[key], settings, V05)
    assert (breach.rule, breach.message) == (rule.id, message)
    assert f"{rule.source} (mlcommons/training_policies@a2c358a); other values need the open division" in breach.remedy


def test_the_references_own_value_is_always_allowed():
    rule = V05.benchmarks["maskrcnn"].tunable["opt_learning_rate_warmup_factor"]
    assert closed_breach(rule, 1 / 3, {}, V05) is None


def test_out_of_the_box_the_boundaries_are_the_references_for_the_batch():
    rule = V05.benchmarks["ssd"].tunable["opt_learning_rate_decay_boundary_steps"]
    settings = {"global_batch_size": 4096}
    assert untuned_breach("steps", rule, [1250, 1562], settings, V05) is None
    stretched = untuned_breach("steps", rule, [1500, 1875], settings, V05)
    assert stretched is not None
    assert stretched.message == "[1500, 1875] is not the reference's [1250, 1562]"


def test_what_is_of_another_optimizer_is_not_allowed():
    round_ = load_rounds()["v0.6"]
    rule = round_.benchmarks["resnet"].tunable["lars_epsilon"]
    assert closed_breach(rule, 0, {"opt_name": "lars"}, round_) is None
    assert closed_breach(rule, 0, {}, round_) is None
    assert closed_breach(rule, 0, {"opt_name": "sgd"}, round_).message == "is only for lars, but opt_name is sgd"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([0.5, 1, 1e-05], "[0.5, 1, 1e-05]"),
        ([[1], {"a": 1}, True], "[[...], {...}, true]"),
        (list(range(100)), f"[{', '.join(map(str, range(64)))}, ...]"),
        ({}, "{...}"),
    ],
)
def test_shown(value, text):
    assert shown(value) == text


def test_a_numbers_rule_holds_for_each():
    rule = Hyperparameter(type="numbers", rule=kind(kind="oneOf", values=[1, 2]))
    assert (rule.allows([1, 2, 1], {}), rule.allows([1, 3], {}), rule.nearest([1, 3], {})) == (True, False, [1, 2])


@pytest.mark.parametrize(
    ("type_", "value", "message"),
    [
        ("integer", 1, ""),
        ("integer", 1.0, "1 is not an integer"),
        ("integer", True, "true is not an integer"),
        ("integer", [1], "[1] is not an integer"),
        ("number", 0.5, ""),
        ("number", False, "false is not a number"),
        ("number", math.inf, "inf is not a number"),
        ("number", "0.5", "'0.5' is not a number"),
        ("boolean", True, ""),
        ("boolean", 1, "1 is not a boolean"),
        ("string", "", ""),
        ("string", 1, "1 is not a string"),
        ("numbers", [], ""),
        ("numbers", (1, 2.5), ""),
        ("numbers", 1, "1 is not a list of numbers"),
        ("numbers", [1, True], "true is not a number"),
        ("numbers", [1, None], "None is not a number"),
        ("numbers", [1, math.nan, None], "nan is not a number"),
        ("number or numbers", 1, ""),
        ("number or numbers", [1], ""),
        ("number or numbers", "1", "'1' is not a number or a list of numbers"),
        ("integer", "x" * 78, f"'{'x' * 78}' is not an integer"),  # 80 characters with its quotes
        ("integer", "x" * 79, f"'{'x' * 79}... is not an integer"),
    ],
)
def test_the_type_of_a_value(type_, value, message):
    assert wrong_type(Hyperparameter(type=type_, rule=kind(kind="unconstrained")), value) == message


def test_the_open_division_asks_for_sense_only():
    rule = Hyperparameter(type="number", rule=kind(kind="range", minimum=0))
    assert open_breach(rule, 0) == ""
    assert open_breach(rule, -1) == "-1 is not a valid value; use number, 0 or more"
    assert open_breach(rule, "x") == "'x' is not a number"


@pytest.mark.parametrize(
    ("type_", "value", "plain"),
    [
        ("integer", "256", 256),
        ("integer", "256.0", 256),
        ("integer", 256.0, 256),
        ("integer", 256.5, 256.5),
        ("integer", ["256"], 256),
        ("integer", [1, 2], [1, 2]),
        ("integer", "many", "many"),
        ("integer", "Inf", math.inf),
        ("number", "0.5", 0.5),
        ("number", 256.0, 256.0),
        ("number", "1e-3", 0.001),
        ("number", ["Auto"], "Auto"),
        ("string", "LARS", "lars"),
        ("string", ["LARS"], "lars"),
        ("string", "256", "256"),
        ("boolean", True, True),
        ("numbers", [30], [30]),
        ("number or numbers", [30], [30]),
        ("number or numbers", 30.0, 30.0),
    ],
)
def test_a_logged_value_in_the_form_of_its_type(type_, value, plain):
    found = plain_value(value, type_)
    assert (found, type(found)) == (plain, type(plain))


@pytest.mark.parametrize(
    ("value", "allowed"),
    [([30, 60], True), ([], False), ([-1], False)],
)
def test_a_closed_list_is_not_empty(value, allowed):
    rule = V05.benchmarks["resnet"].tunable["opt_learning_rate_decay_boundary_epochs"]
    free = Hyperparameter(type="numbers", rule=kind(kind="unconstrained"), id="free", source="a.adoc:1")
    assert closed_breach(free, value, {}, V05) is None
    ranged = Hyperparameter(type="numbers", rule=kind(kind="range", minimum=0), id="ranged", source="a.adoc:1")
    assert (closed_breach(ranged, value, {}, V05) is None) == allowed
    assert closed_breach(rule, [], {}, V05) is not None


def test_out_of_the_box_only_the_batch_size_is_tuned():
    benchmark = V05.benchmarks["resnet"]
    rate = benchmark.tunable["opt_base_learning_rate"]
    breach = untuned_breach("opt_base_learning_rate", rate, 0.6, {}, V05)
    assert breach.rule == f"{rate.id}.untuned"
    assert breach.message == "0.6 is not the reference's 0.512"
    assert breach.remedy.startswith("out of the box, tune only global_batch_size; use division: closed for what ")
    assert untuned_breach("global_batch_size", benchmark.tunable["global_batch_size"], 7, {}, V05) is None
    unknown = Hyperparameter(type="number", rule=kind(kind="unconstrained"), id="free", source="a.adoc:1")
    assert untuned_breach("free", unknown, 7, {}, V05) is None  # no reference says another value


def test_a_source_names_its_document_if_the_round_knows_it():
    known = V05.benchmarks["resnet"].tunable["opt_base_learning_rate"]
    assert source(known, V05) == f"{known.source} (mlcommons/training_policies@a2c358a)"
    assert source(known.model_copy(update={"source": "letter.txt:3"}), V05) == "letter.txt:3"
