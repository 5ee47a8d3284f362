"""Two real nodes, S3, Prometheus, and the operator as a process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.cluster import images
from tests.cluster.fixtures import ROOT, Kubectl, apply_crds, given_kubeconfig, kubectl_for, namespace, needed_parts
from tests.cluster.node import NODE_IP, Node
from tests.cluster.parts import REGION, S3, Operator, Prometheus
from tests.cluster.watching import Watching

__all__ = ["namespace"]
LOST_SECONDS, TOLERATED_SECONDS = 20, 30


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node | None]:
    """A cluster of two real nodes with the trainer image; None when a cluster is given.

    It counts a node as lost sooner than the default of 50 s, and waits 30 s instead of 5 min for it to come back.
    """
    if os.environ.get("KUBECONFIG"):
        yield None
        return
    node = Node(tmp_path_factory.mktemp("node"), count=2)
    with needed_parts():
        image = images.trainer_base()
        try:
            tolerated = (
                f"--default-{what}-toleration-seconds={TOLERATED_SECONDS}" for what in ("not-ready", "unreachable")
            )
            lost = (f"--node-monitor-grace-period={LOST_SECONDS}s", "--node-monitor-period=2s")
            node.up(apiserver_flags=tuple(tolerated), controller_flags=lost)
            node.load(image)
            yield node
        finally:
            node.down()


@pytest.fixture(scope="session")
def operator_image(node: Node | None) -> str:
    """The operator's image, where the node finds it. For a given cluster it is the one that you name."""
    if node is None:
        if image := os.environ.get("PODIUM_TEST_OPERATOR_IMAGE"):
            return image
        pytest.skip("KUBECONFIG is set: name an image of the operator in PODIUM_TEST_OPERATOR_IMAGE")
    with needed_parts():
        node.load(images.operator())
    return images.OPERATOR


@pytest.fixture(scope="session")
def kubeconfig(node: Node | None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cluster with a kubelet and the CRD: the given one, else that of the node."""
    path = node.plane.kubeconfig if node else given_kubeconfig(tmp_path_factory.mktemp("given"))
    assert path is not None
    apply_crds(path)
    return path


@pytest.fixture
def kubectl(kubeconfig: Path) -> Kubectl:
    return kubectl_for(kubeconfig)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory, node: Node | None) -> Iterator[S3]:
    """A store that is up when a test begins; one that stops it starts it again."""
    store = S3(tmp_path_factory.mktemp("s3"), NODE_IP if node else "127.0.0.1")
    with needed_parts():
        try:
            store.start()
            yield store
        finally:
            store.remove()


@pytest.fixture
def bucket(s3: S3, namespace: str) -> str:
    return s3.bucket(namespace)


@pytest.fixture
def operator(kubeconfig: Path, s3: S3, bucket: str, namespace: str, tmp_path: Path) -> Iterator[Operator]:
    """Not started yet; it watches the test's namespace and stores into the test's bucket."""
    defaults = images.trainer_defaults(ROOT)
    if image := os.environ.get("PODIUM_TEST_TRAINER_IMAGE"):
        defaults = {"image": image, "allow": {"images": ["*"]}, "shareNodes": True}
    stage = {"endpoint": s3.endpoint, "region": REGION, "allowedPrefixes": [f"{bucket}/datasets"]}
    given = defaults.get("stage", {})
    ca = {"name": "AWS_CA_BUNDLE", "value": str(s3.ca)}
    stage |= {"credentials": {"secretName": "datasets-reader"}, "env": [*given.get("env", ()), ca]}
    mount = {"name": "store-ca", "mountPath": str(s3.ca.parent), "readOnly": True}
    defaults["stage"] = {**given, **stage, "volumeMounts": [*given.get("volumeMounts", ()), mount]}
    pod = defaults.setdefault("pod", {})
    pod["volumes"] = [*pod.get("volumes", ()), {"name": "store-ca", "hostPath": {"path": str(s3.ca.parent)}}]
    token = {"name": "WANDB_API_KEY", "valueFrom": {"secretKeyRef": {"name": "wandb", "key": "api-key"}}}
    defaults["secrets"] = {"wandb": [token]}
    file = tmp_path / "trainer-defaults.yaml"
    file.write_text(yaml.safe_dump(defaults))
    options = ["--results-url", bucket, "--results-endpoint", s3.endpoint, "--results-region", REGION]
    options += ["--namespace", namespace, "--trainer-defaults", str(file)]
    process = Operator(kubeconfig, tmp_path, options, s3.environment)
    yield process
    process.stop()


@pytest.fixture
def prometheus(operator: Operator, tmp_path: Path) -> Iterator[Prometheus]:
    server = Prometheus(tmp_path / "prometheus", operator.url.removeprefix("http://"))
    with needed_parts():
        server.start()
    yield server
    server.stop()


@pytest.fixture
def watch(kubeconfig: Path, tmp_path: Path) -> Iterator[Callable[..., Watching]]:
    """Starts ``podium watch``."""
    started: list[Watching] = []

    def start(*words: str) -> Watching:
        started.append(Watching(kubeconfig, tmp_path, *words))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait()
