"""Tests against a real API server."""

from tests.cluster.fixtures import kubeconfig, kubectl, namespace

__all__ = ["kubeconfig", "kubectl", "namespace"]
