"""A run's spec against its round, and against the rules of the CRD: both sides of each condition."""

from __future__ import annotations

import pytest

from podium.api import BenchmarkRunSpec
from podium.rounds import load_rounds
from podium.rules import Finding, check_admission, check_spec

ROUNDS = load_rounds()
OPEN = {"division": "open"}
IMAGE = {"template": {"image": "acme/trainer:1"}}
TARGET = {"quality": {"target": "0.5"}}


def made(**spec):
    return BenchmarkRunSpec.model_validate(
        {
            "round": "v0.6",
            "benchmark": "resnet",
            "system": {"name": "box", "nodes": 1, "acceleratorsPerNode": 8},
            "data": {"persistentVolumeClaim": {"claimName": "imagenet"}},
            **spec,
        }
    )


def custom(**spec):
    return {"benchmark": "chess", **spec}


def settings(benchmark="resnet", **hyperparameters):
    return {"benchmark": benchmark, "hyperparameters": hyperparameters}


UNKNOWN, TRAINER = "spec.benchmark.unknown", "spec.benchmark.trainer"
KEY, CLOSED, VALUE = "spec.hyperparameters.unknown", "spec.hyperparameters.closed", "spec.hyperparameters.value"


@pytest.mark.parametrize(
    ("spec", "rules"),
    [
        ({}, []),
        # a custom benchmark needs all three
        (custom(**OPEN, **IMAGE, **TARGET), []),
        (custom(**IMAGE), [UNKNOWN]),
        (custom(**OPEN, **TARGET), [UNKNOWN]),
        (custom(**OPEN, **IMAGE), [UNKNOWN]),
        (custom(**IMAGE, **TARGET), [UNKNOWN, "spec.quality.closed"]),
        # and has no rules of its hyperparameters, but those that hold for all
        ({**custom(**OPEN, **IMAGE, **TARGET), "hyperparameters": {"opt_momentum": 0.9}}, []),
        ({**custom(**OPEN, **IMAGE, **TARGET), "hyperparameters": {"opt_momentum": -1}}, [VALUE]),
        ({**custom(), "hyperparameters": {"opt_momentum": -1}}, [UNKNOWN]),  # nobody knows its rules
        # a round that Podium has no trainers for
        ({"round": "v0.7"}, [TRAINER]),
        ({"round": "v0.7", **IMAGE}, []),
        # targets
        ({**OPEN, **TARGET}, []),
        ({**OPEN, "benchmark": "maskrcnn", "quality": {"target": "0.3/0.2"}}, []),
        ({**OPEN, "benchmark": "maskrcnn", **TARGET}, ["spec.quality.metrics"]),
        (TARGET, ["spec.quality.closed"]),
        ({"preset": "tiny"}, ["spec.preset.closed"]),
        ({**OPEN, "preset": "tiny"}, []),
        # only a custom image can define a key
        (settings(flavor=1), [KEY]),
        ({**settings(flavor=1), **OPEN}, [KEY]),
        ({**settings(flavor=1), **IMAGE}, []),
        # what the closed division tunes, and what another benchmark has
        (settings(global_batch_size=64), []),
        (settings(max_samples=1), [CLOSED]),
        ({**settings(max_samples=1), **OPEN}, []),
        ({**settings(opt_base_learning_rate=1), "division": "outOfTheBox"}, ["spec.hyperparameters.outOfTheBox"]),
        ({**settings(max_samples=1), "division": "outOfTheBox"}, ["spec.hyperparameters.outOfTheBox"]),
        ({**settings(global_batch_size=64), "division": "outOfTheBox"}, []),
    ],
)
def test_what_is_wrong_with_a_spec(spec, rules):
    assert [str(finding.rule) for finding in check_spec(made(**spec), ROUNDS)] == rules


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"benchmark": "resent"}, "v0.6 has no 'resent' (did you mean resnet?); choose one of resnet, ssd, "),
        ({"benchmark": "xyz"}, "v0.6 has no 'xyz'; choose one of resnet, ssd, "),
        (settings(global_batchsize=1), "not an MLPerf hyperparameter (did you mean global_batch_size?); a custom "),
        (settings(xyz=1), "not an MLPerf hyperparameter; a custom image may define it"),
        (
            {"round": "v0.6", **settings("ncf", lars_epsilon=1)},
            "not tunable in the closed division of v0.6 ncf; tunable: ",
        ),
    ],
)
def test_what_to_write_instead(spec, message):
    (finding,) = check_spec(made(**spec), ROUNDS)
    assert finding.message.startswith(message)


def test_settings_are_judged_together():
    """The optimizer that a run sets, or else the reference's, decides which keys it may set."""
    assert check_spec(made(**settings(lars_epsilon=0)), ROUNDS) == ()
    (finding,) = check_spec(made(**settings(opt_learning_rate_decay_boundary_epochs=[30])), ROUNDS)
    assert finding.message == "is only for sgd, but opt_name is lars"
    (finding,) = check_spec(made(**settings(opt_name="sgd", lars_epsilon=0)), ROUNDS)
    assert finding.message == "is only for lars, but opt_name is sgd"


CPU = {"system": {"name": "box", "nodes": 1}}
NAME, DATA = "metadata.name", "spec.data"
ACCELERATORS, RESERVED = "spec.system.accelerators", "spec.template.env"


def env(*names):
    return {"template": {"env": [{"name": name, "value": "1"} for name in names]}}


@pytest.mark.parametrize(
    ("name", "spec", "rules"),
    [
        ("mine", {}, []),
        ("a", {}, []),
        ("a-1", {}, []),
        ("x" * 50, {}, []),
        ("x" * 51, {}, [NAME]),
        ("1a", {}, [NAME]),
        ("a-", {}, [NAME]),
        ("a.b", {}, [NAME]),
        ("a\n", {}, [NAME]),
        ("mine", CPU, [ACCELERATORS]),
        ("mine", {**CPU, "division": "outOfTheBox"}, [ACCELERATORS]),
        ("mine", {**CPU, **OPEN}, []),
        ("mine", {"data": None}, [DATA]),
        ("mine", {"data": {"stage": {"from": "s3://data/imagenet"}}}, []),
        ("mine", {"data": None, **IMAGE}, []),
        ("mine", {"data": None, "preset": "tiny"}, []),
        ("mine", env("PODIUM_SEED"), [RESERVED]),
        ("mine", env("HOME", "PET_NNODES", "PETS", "PODIUM_RANK"), [RESERVED, RESERVED]),
        ("mine", env("MY_PODIUM_", "PODIUM"), []),
    ],
)
def test_what_the_crd_would_reject(name, spec, rules):
    assert [str(finding.rule) for finding in check_admission(name, made(**spec))] == rules


@pytest.mark.parametrize(
    ("finding", "text"),
    [
        (Finding("log.empty", "a.txt", "no line"), "a.txt: no line"),
        (Finding("log.empty", "a.txt", "no line", 7), "a.txt:7: no line"),
        (Finding("log.empty", "a.txt", "no line", remedy="ask"), "a.txt: no line; ask"),
        (Finding("log.empty", "a.txt", "no line", 7, "ask"), "a.txt:7: no line; ask"),
    ],
)
def test_a_finding(finding, text):
    assert str(finding) == text
    assert finding.document() == {
        "rule": "log.empty", "where": "a.txt", "line": finding.line, "message": "no line", "remedy": finding.remedy,
    }  # fmt: skip
