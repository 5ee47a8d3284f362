"""Tests against a real API server, and against a real S3 server."""

from collections.abc import Iterator

import pytest

from tests.api.test_disturbances import Cluster
from tests.cluster.fixtures import kubeconfig, kubectl, namespace, needed_parts
from tests.cluster.parts import S3

__all__ = ["kubeconfig", "kubectl", "namespace"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--renew", action="store_true", help="record the chart's manifests again (tests/data/chart)")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    server = S3(tmp_path_factory.mktemp("s3"))
    try:
        with needed_parts():
            server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane of its own, whose nodes and pods are fake."""
    with needed_parts():
        made = Cluster(tmp_path_factory.mktemp("cluster"))
        try:
            made.up()
            yield made
        finally:
            made.plane.down()
