"""Tests against a real API server."""

import pytest

from tests.cluster.fixtures import kubeconfig, kubectl, namespace

__all__ = ["kubeconfig", "kubectl", "namespace"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--renew", action="store_true", help="record the chart's manifests anew (tests/data/chart)")
