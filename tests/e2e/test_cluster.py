"""The parts that the other tests of this folder trust: a node that trains in two pods, S3, Prometheus."""

from __future__ import annotations

import json

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError, SSLError

from tests.cluster import images
from tests.cluster.fixtures import ROOT
from tests.cluster.parts import Prometheus, until

ALL_REDUCE = """
import os, torch, torch.distributed as dist
dist.init_process_group("gloo")
x = torch.tensor([float(dist.get_rank() + 1)])
dist.all_reduce(x)
print(f"uid {os.getuid()} rank {dist.get_rank()} of {dist.get_world_size()}: {x.item()}", flush=True)
dist.destroy_process_group()
"""


def two_pods() -> dict:
    """An Indexed Job under the restricted pod security profile, as the operator makes them, but by hand."""
    defaults = images.trainer_defaults(ROOT)
    pod = defaults["pod"]
    index = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    environment = [
        {"name": "PET_NNODES", "value": "2"},
        {"name": "PET_NPROC_PER_NODE", "value": "1"},
        {"name": "PET_NODE_RANK", "valueFrom": {"fieldRef": {"fieldPath": index}}},
        {"name": "PET_MASTER_ADDR", "value": "train-0.train"},
        {"name": "PET_MASTER_PORT", "value": "29500"},
    ]
    container = {
        "name": "trainer",
        "image": defaults["image"],
        "imagePullPolicy": defaults["imagePullPolicy"],
        "command": ["torchrun", "/code/train.py"],
        "env": environment + pod["env"],
        "volumeMounts": [{"name": "code", "mountPath": "/code"}, *pod["volumeMounts"]],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    spec = {
        "restartPolicy": "Never",
        "subdomain": "train",
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "code", "configMap": {"name": "train"}}, *pod["volumes"]],
    }
    counts = {"completions": 2, "parallelism": 2, "completionMode": "Indexed", "backoffLimit": 0}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "train"}}
    service = {"clusterIP": "None", "publishNotReadyAddresses": True, "ports": [{"port": 29500}]}
    code = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "train"}, "data": {"train.py": ALL_REDUCE}}
    selector = {"selector": {"batch.kubernetes.io/job-name": "train"}}
    items = [
        code,
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "train"}, "spec": {**service, **selector}},
        {**job, "spec": {**counts, "template": {"spec": spec}}},
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}


def test_torchrun_meets_itself_in_two_pods(kubectl, namespace):
    kubectl("-n", namespace, "apply", "-f", "-", stdin=two_pods())
    kubectl("-n", namespace, "wait", "--for=condition=Complete", "job/train", "--timeout=120s")
    for rank in (0, 1):
        selector = f"batch.kubernetes.io/job-completion-index={rank}"
        assert kubectl("-n", namespace, "logs", "-l", selector) == f"uid 1000 rank {rank} of 2: 3.0\n"
    times = json.loads(kubectl("-n", namespace, "get", "job", "train", "-o", "json"))
    print("create to Complete:", times["metadata"]["creationTimestamp"], times["status"]["completionTime"])


def client(s3):
    # A connection to a server that has been restarted is closed when it is used again. The server hangs up after a
    # refusal without reading the rest of the body, so that is sent in one piece, not in chunks with a trailer.
    whole = {"request_checksum_calculation": "when_required", "s3": {"payload_signing_enabled": True}}
    return s3.client(config=Config(retries={"mode": "standard", "total_max_attempts": 3}, **whole))


def test_s3_keeps_an_object_through_an_outage(s3, bucket):
    name, store = bucket.removeprefix("s3://"), client(s3)
    store.put_object(Bucket=name, Key="a/b", Body=b"kept", IfNoneMatch="*")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        store.put_object(Bucket=name, Key="a/b", Body=b"again", IfNoneMatch="*")
    s3.stop()
    try:
        with pytest.raises((EndpointConnectionError, SSLError)):  # it may still accept a connection, and close it
            store.get_object(Bucket=name, Key="a/b")
    finally:
        s3.start()
    assert store.get_object(Bucket=name, Key="a/b")["Body"].read() == b"kept"


def test_s3_that_is_full_or_read_only_still_reads(s3, bucket):
    name, store = bucket.removeprefix("s3://"), client(s3)
    store.put_object(Bucket=name, Key="before", Body=b"kept")
    with s3.full():
        # it may close the connection without reading the rest
        with pytest.raises((ClientError, SSLError), match=r"InsufficientStorage|EOF occurred"):
            store.put_object(Bucket=name, Key="more", Body=b"x" * 100_000)
        assert store.get_object(Bucket=name, Key="before")["Body"].read() == b"kept"
    with s3.read_only():
        with pytest.raises(ClientError, match="AccessDenied"):
            store.put_object(Bucket=name, Key="more", Body=b"x")
        assert store.get_object(Bucket=name, Key="before")["Body"].read() == b"kept"
    store.put_object(Bucket=name, Key="more", Body=b"x")


def test_prometheus_scrapes(tmp_path):
    """Itself, for want of anything smaller."""
    server = Prometheus(tmp_path / "prometheus")
    server.start()
    try:
        up = until(lambda: server.query("up == 1"), 15, "Prometheus has scraped itself")
        assert up[0]["metric"]["job"] == "podium"
    finally:
        server.stop()
