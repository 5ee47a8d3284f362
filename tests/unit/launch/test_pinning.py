"""All attempts of a run use what it was admitted with."""

from __future__ import annotations

from dataclasses import replace

import pytest

from podium.api import Condition, TryId
from podium.launch import Inputs, TrainerDefaults, build_job, launch_for, with_image_digest, without_texts
from podium.launch.pinning import pinned_image
from podium.reconcile import Container
from podium.rounds import load_rounds
from podium.rules import check_spec, goal_for
from tests.unit.reconcile import examples as ex

ROUNDS = load_rounds()
BEFORE = TrainerDefaults.model_validate(
    {"image": "trainer:1", "pod": {"env": [{"name": "NCCL_DEBUG", "value": "WARN"}]}}
)
AFTER = TrainerDefaults.model_validate({"image": "trainer:2", "pod": {"hostNetwork": True}})
DIGEST = "sha256:" + "a" * 64


def admitted(**spec):
    run = ex.run(**spec)
    return replace(run, status=run.status.model_copy(update={"pinned": Inputs(ROUNDS, BEFORE).pin(run)}))


def changed_rounds():
    """The rounds of a new version: another target, and a fixed seed of another kind."""
    resnet = ROUNDS["v0.6"].benchmarks["resnet"]
    quality = tuple(one.model_copy(update={"target": 0.123}) for one in resnet.quality)
    changed = resnet.model_copy(update={"quality": quality, "tunable": {}})
    benchmarks = {**ROUNDS["v0.6"].benchmarks, "resnet": changed}
    return {**ROUNDS, "v0.6": ROUNDS["v0.6"].model_copy(update={"benchmarks": benchmarks})}


def job(run, inputs):
    launch = launch_for(run, TryId(attempt=2, number=0), 1, inputs.rounds(run))
    return build_job(launch, inputs.trainer(run))["spec"]["template"]["spec"]


def test_what_is_pinned_is_short_and_says_what_it_is():
    pinned = admitted().status.pinned
    assert (pinned.image, pinned.image_digest, len(pinned.round_digest), len(pinned.pod_defaults_digest)) == (
        "trainer:1", None, 64, 64,
    )  # fmt: skip
    assert pinned.operator_version
    assert 500 < len(pinned.rules) + len(pinned.pod_defaults) < 6000


def test_changed_pod_defaults_do_not_reach_a_running_run():
    run, after = admitted(), Inputs(ROUNDS, AFTER)
    pod = job(run, after)
    assert "hostNetwork" not in pod
    assert pod["containers"][0]["image"] == "trainer:1"
    assert {"name": "NCCL_DEBUG", "value": "WARN"} in pod["containers"][0]["env"]
    new = job(ex.run(), after)
    assert (new["hostNetwork"], new["containers"][0]["image"]) == (True, "trainer:2")


def test_a_changed_round_does_not_reach_a_running_run():
    closed = {
        "division": "closed", "preset": "full", "quality": None, "hyperparameters": {"global_batch_size": 3264},
        "system": {"name": "dgx", "nodes": 2, "acceleratorsPerNode": 8},
        "data": {"persistentVolumeClaim": {"claimName": "imagenet"}},
    }  # fmt: skip
    run, after = admitted(**closed), Inputs(changed_rounds(), BEFORE)
    assert check_spec(run.spec, after.rounds(ex.run(**closed)))  # a new run is refused
    assert not check_spec(run.spec, after.rounds(run))
    assert goal_for(run.spec, after.rounds(run)).text == "0.759"


@pytest.mark.parametrize("missing", [True, False])
def test_a_removed_round_does_not_reach_a_running_run(missing):
    rounds = {name: round_ for name, round_ in ROUNDS.items() if name != "v0.6"}
    run, after = admitted(), Inputs(rounds if missing else ROUNDS, AFTER)
    assert goal_for(run.spec, after.rounds(run)).text == "0.9"


def test_the_first_pod_shows_the_digest_that_later_pods_start_with():
    run = admitted()
    assert pinned_image(run.status.pinned) == "trainer:1"
    shown = [Container("a", 0), Container("b", 1, image_id=f"docker.io/library/trainer@{DIGEST}")]
    run = with_image_digest(run, shown)
    assert run.status.pinned.image_digest == DIGEST
    assert job(run, Inputs(ROUNDS, AFTER))["containers"][0]["image"] == f"trainer@{DIGEST}"
    later = with_image_digest(run, [Container("a", 0, image_id="trainer@sha256:" + "b" * 64)])
    assert later.status.pinned.image_digest == DIGEST


@pytest.mark.parametrize(
    ("image", "by_digest"),
    [
        ("trainer", "trainer@"),
        ("registry:5000/team/trainer", "registry:5000/team/trainer@"),
        ("registry:5000/team/trainer:1", "registry:5000/team/trainer@"),
        ("registry/trainer:1@sha256:" + "b" * 64, "registry/trainer@"),
    ],
)
def test_an_image_by_digest(image, by_digest):
    pinned = admitted().status.pinned.model_copy(update={"image": image, "image_digest": DIGEST})
    assert pinned_image(pinned) == by_digest + DIGEST


def test_an_image_without_a_digest_that_a_registry_knows_keeps_its_name():
    run = with_image_digest(admitted(), [Container("a", 0, image_id=DIGEST)])
    assert pinned_image(run.status.pinned) == "trainer:1"


def test_a_status_from_another_version_that_cannot_be_read_is_not_used():
    run = admitted()
    broken = run.status.pinned.model_copy(update={"rules": "{}", "pod_defaults": '{"new": 1}'})
    run = replace(run, status=run.status.model_copy(update={"pinned": broken}))
    inputs = Inputs(ROUNDS, AFTER)
    assert inputs.trainer(run) is AFTER
    assert inputs.rounds(run) is ROUNDS


END = Condition(type="Complete", status="True", reason="Scored", last_transition_time="2026-01-01T00:00:00Z")


def test_the_status_of_a_run_that_has_ended_does_not_change():
    run = admitted()
    ended = replace(run, status=run.status.model_copy(update={"conditions": (END,)}))
    assert with_image_digest(ended, [Container("a", 0, image_id=f"trainer@{DIGEST}")]) is ended


def test_the_texts_go_with_the_end():
    status = admitted().status
    assert without_texts(status) is status
    pinned = without_texts(status.model_copy(update={"conditions": (END,)})).pinned
    assert (pinned.rules, pinned.pod_defaults) == ("", "")
    assert pinned.round_digest == status.pinned.round_digest
