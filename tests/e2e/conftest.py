"""A real node, S3, Prometheus, and the operator as a process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cluster import images
from tests.cluster.fixtures import ROOT, Kubectl, given_kubeconfig, kubectl_for, namespace, unavailable
from tests.cluster.node import NODE_IP, Node
from tests.cluster.parts import REGION, S3, Operator, Prometheus
from tests.cluster.processes import ClusterError

__all__ = ["namespace"]


@pytest.fixture(scope="session")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cluster with a kubelet, with the trainer image and the CRD: the given one, else one of our own."""
    given = given_kubeconfig()
    node = None if given else Node(tmp_path_factory.mktemp("node"))
    try:
        if node:
            node.up()
            node.load(images.trainer_base())
        path = given or node.plane.kubeconfig
        kubectl_for(path)("apply", "--server-side", "-f", ROOT / "crds")
        kubectl_for(path)("wait", "--for=condition=Established", "crd/benchmarkruns.podium.dev", "--timeout=30s")
        yield path
    except ClusterError as error:
        unavailable(error)
    finally:
        if node:
            node.down()


@pytest.fixture
def kubectl(kubeconfig: Path) -> Kubectl:
    return kubectl_for(kubeconfig)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory, kubeconfig: Path) -> Iterator[S3]:
    store = S3(tmp_path_factory.mktemp("s3"), "127.0.0.1" if given_kubeconfig() else NODE_IP)
    store.start()
    yield store
    store.stop()


@pytest.fixture
def bucket(s3: S3, namespace: str) -> str:
    return s3.bucket(namespace)


@pytest.fixture
def operator(kubeconfig: Path, s3: S3, bucket: str, namespace: str, tmp_path: Path) -> Iterator[Operator]:
    """Not started yet; it watches the test's namespace and stores into the test's bucket."""
    defaults = images.trainer_defaults(ROOT)
    if image := os.environ.get("PODIUM_TEST_TRAINER_IMAGE"):
        defaults = {"image": image}
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
    try:
        server.start()
    except ClusterError as error:
        unavailable(error)
    yield server
    server.stop()
