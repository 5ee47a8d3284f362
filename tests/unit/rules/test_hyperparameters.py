"""A single value: its type, the form in which logs have it, and what each division makes of it."""

from __future__ import annotations

import math

import pytest
from pydantic import TypeAdapter

from podium.rounds import Hyperparameter, load_rounds
from podium.rounds.kinds import Kind
from podium.rules.hyperparameters import (
    closed_breach,
    open_breach,
    plain_value,
    source,
    untuned_breach,
    wrong_type,
)

V06 = load_rounds()["v0.6"]
LONG = "x" * 78  # with its quotes as long as a message shows


@pytest.mark.parametrize(
    ("type_", "value", "message"),
    [
        ("integer", 1, ""),
        ("integer", 1.0, "1 is not an integer"),
        ("integer", True, "true is not an integer"),
        ("integer", 10**400, f"1{'0' * 79}... is not a number"),
        ("number", 0.5, ""),
        ("number", False, "false is not a number"),
        ("number", [0.5], "[0.5] is not a number"),
        ("number", math.inf, "inf is not a number"),
        ("boolean", True, ""),
        ("boolean", 1, "1 is not a boolean"),
        ("string", "sgd", ""),
        ("string", None, "None is not a string"),
        ("string", 1, "1 is not a string"),
        ("numbers", [1, 2.5], ""),
        ("numbers", (1, 2.5), ""),
        ("numbers", [], ""),
        ("numbers", 1, "1 is not a list of numbers"),
        ("numbers", [1, None], "None is not a number"),
        ("numbers", [1, True], "true is not a number"),
        ("numbers", [1, [2]], "[2] is not a number"),
        ("numbers", [1, 2, math.nan], "nan is not a number"),
        ("number or numbers", 1, ""),
        ("number or numbers", [1, 2], ""),
        ("number or numbers", [1, "2"], "'2' is not a number"),
        ("number or numbers", "2", "'2' is not a number or a list of numbers"),
        ("integer", LONG, f"'{LONG}' is not an integer"),
        ("integer", LONG + "x", f"'{LONG}x... is not an integer"),
    ],
)
def test_the_type_of_a_value(type_, value, message):
    assert wrong_type(Hyperparameter(type=type_), value) == message


@pytest.mark.parametrize(
    ("type_", "logged", "value"),
    [
        ("integer", "256", 256),
        ("integer", 256.0, 256),
        ("integer", "256.5", 256.5),
        ("integer", [256], 256),
        ("integer", [1, 2], [1, 2]),
        ("integer", "many", "many"),
        ("number", "1e-5", 1e-5),
        ("number", 2.0, 2.0),
        ("number", ["0.5"], 0.5),
        ("number", math.inf, math.inf),
        ("integer", math.inf, math.inf),
        ("string", "LARS", "lars"),
        ("string", ["LARS"], "lars"),
        ("string", "256", "256"),
        ("boolean", True, True),
        ("numbers", [30], [30]),
        ("numbers", "30", "30"),
        ("number or numbers", [30], [30]),
    ],
)
def test_the_form_in_which_a_log_has_a_value(type_, logged, value):
    found = plain_value(logged, type_)
    assert (found, type(found)) == (value, type(value))


def tuned(**more):
    rule = TypeAdapter(Kind).validate_python({"kind": "range", "minimum": 1})
    return Hyperparameter(type="integer", rule=rule, id="v0.6.resnet.warmup", source="training_rules.adoc:1", **more)


@pytest.mark.parametrize(
    ("key", "value", "reference", "breach"),
    [
        ("opt_warmup", 5, 5, None),
        ("opt_warmup", 4, 5, "4 is not the reference's 5"),
        ("opt_warmup", 4, None, None),
        ("global_batch_size", 4, 5, None),
    ],
)
def test_out_of_the_box_only_the_batch_size_differs_from_the_reference(key, value, reference, breach):
    found = untuned_breach(key, tuned(reference=reference), value, {}, V06)
    assert (found and found.message) == breach
    if found:
        assert found.rule == "v0.6.resnet.warmup.untuned"
        assert found.remedy.startswith("out of the box, tune only global_batch_size; use division: closed for what ")


@pytest.mark.parametrize(
    ("value", "breach"),
    [(1, ""), (0, "0 is not a valid value; use integer, 1 or more"), (0.5, "0.5 is not an integer")],
)
def test_in_the_open_division_a_value_must_make_sense(value, breach):
    assert open_breach(tuned(), value) == breach


@pytest.mark.parametrize(
    ("optimizer", "breach"),
    [
        ("LARS", None),
        ("sgd", "is only for adam or lars, but opt_name is sgd"),
        ("s" * 81, f"is only for adam or lars, but opt_name is {'s' * 80}"),
        (5, None),  # opt_name itself is reported
        (None, None),
    ],
)
def test_what_belongs_to_an_optimizer(optimizer, breach):
    settings = {} if optimizer is None else {"opt_name": optimizer}
    found = closed_breach(tuned(optimizers=("adam", "lars")), 3, settings, V06)
    assert (found and found.message) == breach
    if found:
        assert found.remedy.startswith("leave it out; training_rules.adoc:1")


def test_a_value_of_another_type_is_told_what_is_allowed():
    found = closed_breach(tuned(), "3", {}, V06)
    assert (found.message, found.remedy.partition(";")[0]) == ("'3' is not an integer", "allowed: integer, 1 or more")


def test_the_source_of_a_rule():
    known = next(rule for rule in V06.benchmarks["resnet"].tunable.values())
    name = known.source.partition(":")[0]
    assert source(known, V06) == f"{known.source} ({V06.document(name).removesuffix(name).strip()})"
    assert source(Hyperparameter(type="integer", source="no_document:1"), V06) == "no_document:1"
