"""Service and Job of a try."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from podium.api import Submission, TryId
from podium.launch import StageCredentials, StageDefaults, TrainerDefaults, build_job, build_service, launch_for
from podium.launch.stage import stage_folder
from podium.rounds import load_rounds
from tests.unit.reconcile import examples as ex

GOLDEN = Path(__file__).resolve().parents[2] / "data/manifests"
GPU = {
    "division": "closed",
    "preset": "full",
    "quality": None,
    "hyperparameters": {"global_batch_size": 3264, "opt_name": "lars"},
    "system": {"name": "dgx", "nodes": 2, "acceleratorsPerNode": 8},
    "data": {"persistentVolumeClaim": {"claimName": "imagenet"}},
    "queueName": "gpus",
    "template": {
        "resources": {"limits": {"memory": "1Ti"}},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        "nodeSelector": {"pool": "gpu"},
        "sharedMemory": "64Gi",
    },
}
BUCKET = {**GPU, "data": {"stage": {"from": "s3://datasets/imagenet/v1"}}}
CLAIM = {"data": {"persistentVolumeClaim": {"claimName": "digits"}, "stage": {}}}
STAGE = TrainerDefaults.model_validate(
    {
        "stage": {
            "image": "registry.example/podium-operator:1",
            "volume": {"hostPath": {"path": "/mnt/nvme/podium", "type": "Directory"}},
            "credentials": {"secretName": "datasets-reader"},
            "endpoint": "http://minio.storage:9000",
            "region": "eu-central-1",
            "allowedPrefixes": ["s3://datasets/"],
            "resources": {"requests": {"cpu": "4"}},
        }
    }
)
ADMIN = TrainerDefaults.model_validate(
    {
        "image": "registry.example/podium-trainer:1",
        "pod": {
            "env": [{"name": "NCCL_IB_HCA", "value": "mlx5"}, {"name": "PODIUM_SEED", "value": "1"}],
            "volumes": [{"name": "scratch", "hostPath": {"path": "/mnt/nvme"}}],
            "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
            "securityContext": {"capabilities": {"drop": ["ALL"], "add": ["IPC_LOCK"]}},
            "hostNetwork": True,
        },
    }
)


def launch(**spec):
    return launch_for(ex.run(**spec), TryId(attempt=2, number=1), 42, load_rounds())


def container(job):
    (only,) = job["spec"]["template"]["spec"]["containers"]
    return only


def env(job):
    return {entry["name"]: entry.get("value") for entry in container(job)["env"]}


@pytest.mark.parametrize(
    ("name", "spec", "defaults"),
    [
        ("digits", {}, TrainerDefaults()),
        ("gpu", GPU, TrainerDefaults()),
        ("admin", {}, ADMIN),
        ("stage-bucket", BUCKET, STAGE),
        ("stage-claim", CLAIM, TrainerDefaults.model_validate({"stage": {"image": "podium-operator:1"}})),
    ],
)
def test_golden(name, spec, defaults):
    """The files show all there is to a run in a cluster."""
    one = launch(**spec)
    built = [build_service(one), build_job(one, defaults)]
    assert built == list(yaml.safe_load_all((GOLDEN / f"{name}.yaml").read_text()))


def test_a_benchmark_whose_name_is_no_name_for_an_object():
    """MLPerf's names have underscores; names and labels of objects come from the run."""
    one = launch(**GPU | {"round": "v5.1", "benchmark": "llama31_8b", "hyperparameters": {"global_batch_size": 16}})
    service, job = build_service(one), build_job(one, TrainerDefaults())
    named = [made["metadata"]["name"] for made in (service, job)]
    labels = {**service["metadata"]["labels"], **job["metadata"]["labels"],
              **job["spec"]["template"]["metadata"]["labels"]}  # fmt: skip
    assert not any("_" in text for text in (*named, *labels.values()))
    assert container(job)["command"] == [
        "torchrun", "-m", "podium_benchmarks.llama31_8b", "--preset", "full", "--target", "3.3", "--seed", "42",
        "--data", "/data", "--set", "global_batch_size=16",
    ]  # fmt: skip


def test_pods_are_restricted():
    pod = build_job(launch(), TrainerDefaults())["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod["containers"][0]["securityContext"]["allowPrivilegeEscalation"] is False


def test_nothing_but_the_administrator_moves_a_pod_to_fill_fewer_nodes():
    """The cluster autoscaler and Karpenter drain nodes that are nearly empty, and an attempt that was drained is lost."""
    stays = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "karpenter.sh/do-not-disrupt": "true"}
    assert build_job(launch(), TrainerDefaults())["spec"]["template"]["metadata"]["annotations"] == stays
    moves = {"karpenter.sh/do-not-disrupt": "30m"}
    administrators = TrainerDefaults.model_validate({"pod": {"annotations": moves}})
    assert build_job(launch(), administrators)["spec"]["template"]["metadata"]["annotations"] == {**stays, **moves}


@pytest.mark.parametrize(
    ("template", "home"),
    [
        ({}, None),  # the trainers' image has one
        ({"image": "registry.example/own:1"}, "/tmp"),
        ({"image": "registry.example/own:1", "env": [{"name": "HOME", "value": "/workspace"}]}, "/workspace"),
    ],
)
def test_an_own_image_can_write_to_its_home(template, home):
    """Without a home of its own, user 65532 would have that of the image's user, often /root, or /."""
    assert env(build_job(launch(template=template), TrainerDefaults())).get("HOME") == home


def test_the_owner_does_not_control():
    """controller: true would switch native gang scheduling off without a word."""
    for manifest in (build_service(launch()), build_job(launch(), TrainerDefaults())):
        (owner,) = manifest["metadata"]["ownerReferences"]
        assert (owner["uid"], owner["controller"]) == (ex.run().uid, False)


def test_neither_administrator_nor_run_breaks_the_contract():
    job = build_job(
        launch(template={"env": [{"name": "PODIUM_TARGET", "value": "0.1"}, {"name": "MINE", "value": "x"}]}), ADMIN
    )
    assert env(job)["PODIUM_TARGET"] == "0.9"
    assert env(job)["PODIUM_SEED"] == "42"
    assert env(job)["MINE"] == "x"
    assert env(job)["NCCL_IB_HCA"] == "mlx5"
    assert (env(job)["PET_MASTER_ADDR"], env(job)["PET_NNODES"]) == ("podium-digits-2-1-0.podium-digits", "2")


@pytest.mark.parametrize(
    ("template", "command", "args"),
    [
        (
            {},
            ["torchrun", "-m", "podium_benchmarks.resnet", "--preset", "tiny", "--target", "0.9", "--seed", "42"],
            None,
        ),
        ({"image": "mine:1"}, None, None),
        ({"image": "mine:1", "args": ["--fast"]}, None, ["--fast"]),
        ({"image": "mine:1", "command": ["./train"]}, ["./train"], None),
        ({"command": ["torchrun", "mine.py"]}, ["torchrun", "mine.py"], None),
    ],
)
def test_what_a_container_runs(template, command, args):
    built = container(build_job(launch(template=template), TrainerDefaults()))
    assert (built.get("command"), built.get("args")) == (command, args)


def test_hyperparameters_reach_the_trainer_by_flag_and_variable():
    job = build_job(launch(hyperparameters={"global_batch_size": 64, "opt_name": "lars"}), TrainerDefaults())
    words = container(job)["command"]
    assert words[-4:] == ["--set", "global_batch_size=64", "--set", "opt_name=lars"]
    assert env(job)["PODIUM_HYPERPARAMETERS"] == '{"global_batch_size": 64, "opt_name": "lars"}'


@pytest.mark.parametrize(
    ("own", "administrators", "org", "status"),
    [
        ({}, {}, None, None),
        ({}, {"org": "ACME", "status": "onprem"}, "ACME", "onprem"),
        ({"org": "Lab 7"}, {"org": "ACME", "status": "onprem"}, "Lab 7", "onprem"),
        ({"org": "Lab 7", "status": "cloud"}, {}, "Lab 7", "cloud"),
    ],
)
def test_who_submits_comes_from_the_run_or_else_from_the_administrator(own, administrators, org, status):
    run, default = ex.run(submission=own), Submission.model_validate(administrators)
    seen = env(build_job(launch_for(run, TryId(attempt=1, number=0), 1, load_rounds(), default), TrainerDefaults()))
    assert (seen.get("PODIUM_SUBMISSION_ORG"), seen.get("PODIUM_SUBMISSION_STATUS")) == (org, status)


def test_a_queue_admits_a_suspended_job():
    job = build_job(launch(queueName="gpus"), TrainerDefaults())
    assert job["spec"]["suspend"] is True
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"


def staged(spec=BUCKET, **defaults):
    """Pod spec and its init container."""
    stage = {**STAGE.stage.model_dump(), **defaults}
    pod = build_job(launch(**spec), STAGE.model_copy(update={"stage": StageDefaults(**stage)}))["spec"]["template"][
        "spec"
    ]
    _, init = pod["initContainers"]
    return pod, init


def test_the_trainer_sees_neither_credentials_nor_other_data():
    pod, init = staged()
    assert [e["name"] for e in init["env"]] == ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]
    (trainer,) = pod["containers"]
    assert not [e for e in trainer["env"] if "AWS" in e["name"]]
    folder = init["command"][3].removeprefix("/stage/")
    assert {"name": "stage", "mountPath": "/data", "subPath": folder, "readOnly": True} in trainer["volumeMounts"]
    assert init["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_what_reads_the_source_has_its_own_folder_alone():
    pod, init = staged()
    folder = init["command"][3].removeprefix("/stage/")
    (mount,) = [mount for mount in init["volumeMounts"] if mount["name"] == "stage"]
    assert mount == {"name": "stage", "mountPath": f"/stage/{folder}", "subPath": folder}
    make = pod["initContainers"][0]
    assert (make["name"], make["command"]) == ("stage-folder", ["mkdir", "-p", f"/stage/{folder}"])
    assert "env" not in make
    assert [mount["name"] for mount in make["volumeMounts"]] == ["stage"]


def test_a_claim_is_copied_without_credentials():
    """What lies in a claim is its owner's: a container that reads it has nothing worth reading."""
    pod, init = staged(CLAIM, credentials=StageCredentials(secret_name="s", service_account_name="reader"))
    assert "env" not in init
    assert "serviceAccountName" not in pod
    assert [v["name"] for v in pod["volumes"]] == ["shared-memory", "stage", "source"]


def test_a_service_account_reads_a_bucket():
    pod, init = staged(credentials=StageCredentials(service_account_name="reader"))
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"], "env" in init) == ("reader", False, False)


def test_an_empty_folder_has_a_limit():
    _, init = staged(volume={"emptyDir": {"sizeLimit": "200Gi"}})
    assert init["command"][-2:] == ["--limit", "200Gi"]


def test_nodes_wait_for_the_one_that_copies_longest():
    pod, _ = staged({**BUCKET, "deadlines": {"pending": "10m", "stage": "1h"}})
    assert {"name": "PET_RDZV_CONF", "value": "timeout=4800"} in pod["containers"][0]["env"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"from": "s3://bbb/x"}, {"from": "s3://bbb/x/"}, True),
        ({"from": "s3://bbb/x"}, {"from": "s3://bbb/y"}, False),
        ({"from": "s3://bbb/x"}, {"from": "s3://ccc/x"}, False),
    ],
)
def test_the_same_place_has_the_same_folder(one, other, same):
    folders = [stage_folder(launch(**{**GPU, "data": {"stage": place}}).spec, "lab") for place in (one, other)]
    assert (folders[0] == folders[1]) is same


def test_claims_of_two_namespaces_are_two_places():
    spec = launch(**CLAIM).spec
    assert stage_folder(spec, "lab") != stage_folder(spec, "office")
    assert stage_folder(spec, "lab").startswith("digits-")


@pytest.mark.parametrize(
    ("data", "defaults", "sentence"),
    [
        (None, {}, ""),
        ({"persistentVolumeClaim": {"claimName": "x"}}, {}, ""),
        (BUCKET["data"], {"image": "i", "allowed_prefixes": ["s3://datasets"]}, ""),
        (CLAIM["data"], {"image": "i"}, ""),
        (
            CLAIM["data"],
            {},
            "no image for copying data is configured; ask the administrator to set trainer.stage.image",
        ),
        (
            BUCKET["data"],
            {"image": "i"},
            "data.stage.from: s3://datasets/imagenet/v1 is not under an allowed prefix (none); use one of them",
        ),
        (
            BUCKET["data"],
            {"image": "i", "allowed_prefixes": ["s3://data", "s3://datasets/ima"]},
            "(s3://data, s3://datasets/ima)",
        ),
    ],
)
def test_what_may_be_staged(data, defaults, sentence):
    refusal = StageDefaults(**defaults).refusal(ex.spec(data=data))
    assert (sentence in refusal) if sentence else not refusal


def test_data_may_not_start_in_memory():
    with pytest.raises(ValueError, match="the rules forbid data that starts in memory"):
        StageDefaults(volume={"emptyDir": {"medium": "Memory"}})


SSD = {**GPU, "benchmark": "ssd", "hyperparameters": {"global_batch_size": 1216}}


def test_a_closed_run_starts_from_the_reference_of_its_round():
    """The trainers' preset full is the reference of v0.6; SSD of v0.5 trained at 0.001."""
    job = build_job(launch(**SSD, round="v0.5"), ADMIN)
    words = container(job)["command"]
    assert "opt_base_learning_rate=0.001" in words
    assert "global_batch_size=1216" in words
    assert '"opt_base_learning_rate": 0.001' in env(job)["PODIUM_HYPERPARAMETERS"]
    own = build_job(launch(**SSD | {"hyperparameters": {"opt_base_learning_rate": 0.095}}, round="v0.5"), ADMIN)
    assert "opt_base_learning_rate=0.095" in container(own)["command"]
    assert "opt_base_learning_rate=0.001" not in container(own)["command"]


@pytest.mark.parametrize(
    "change", [{"division": "open"}, {"template": {"image": "me/mine:1"}}, {"round": "v0.6", "benchmark": "resnet"}]
)
def test_other_runs_start_from_the_preset(change):
    job = build_job(launch(**{**SSD, "round": "v0.5", **change}), ADMIN)
    assert json.loads(env(job)["PODIUM_HYPERPARAMETERS"]) == {"global_batch_size": 1216}


def test_logs_name_a_division_of_mlperf():
    for division, logged in (("closed", "closed"), ("open", "open"), ("outOfTheBox", "closed")):
        job = build_job(launch(**SSD | {"division": division}), ADMIN)
        assert env(job)["PODIUM_DIVISION"] == logged


def test_nobody_can_find_another_source_with_the_folder_of_a_data_set():
    digest = stage_folder(ex.spec(data={"stage": {"from": "s3://datasets/imagenet"}}), "lab").removeprefix("imagenet-")
    assert len(digest) * 4 >= 128  # bits; 48 are a day on one GPU, and the path of a source is free to choose
