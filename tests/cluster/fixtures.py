"""Fixtures for tests that need real parts. Without a part a test is skipped, and fails where ``CI=true``."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import tools
from tests.cluster.controlplane import ControlPlane
from tests.cluster.processes import ClusterError

ROOT = Path(__file__).resolve().parents[2]
_SAFE_CONTEXTS = ("podium-test", "kind-", "k3d-", "minikube")

Kubectl = Callable[..., str]


def unavailable(error: ClusterError) -> None:
    """A part is missing."""
    if os.environ.get("CI") == "true":
        pytest.fail(str(error))
    pytest.skip(str(error))


def given_kubeconfig() -> Path | None:
    """``KUBECONFIG``, when its context is one that tests may write to."""
    path = os.environ.get("KUBECONFIG")
    if not path:
        return None
    command = [str(tools.find("kubectl")), "config", "current-context"]
    context = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    if context != os.environ.get("PODIUM_TEST_CONTEXT") and not context.startswith(_SAFE_CONTEXTS):
        pytest.exit(f"KUBECONFIG points to the context {context!r}: set PODIUM_TEST_CONTEXT={context} to test there", 2)
    return Path(path)


def kubectl_for(kubeconfig: Path) -> Kubectl:
    """A function that runs kubectl and gives its output; a refusal is an AssertionError with kubectl's words."""

    def kubectl(*words: object, stdin: str | dict[str, Any] | None = None, refused: bool = False) -> str:
        text = json.dumps(stdin) if isinstance(stdin, dict) else stdin
        command = [str(tools.find("kubectl")), "--kubeconfig", str(kubeconfig), *map(str, words)]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        assert bool(done.returncode) is refused, f"kubectl {' '.join(map(str, words))}: {done.stdout}{done.stderr}"
        return done.stderr if refused else done.stdout

    return kubectl


@pytest.fixture(scope="session")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cluster's kubeconfig with the CRD applied: the given one, else a control plane of our own."""
    given = given_kubeconfig()
    plane = None if given else ControlPlane(tmp_path_factory.mktemp("plane"))
    try:
        if plane:
            plane.up()
        path = given or plane.kubeconfig
        kubectl_for(path)("apply", "--server-side", "-f", ROOT / "crds")
        kubectl_for(path)("wait", "--for=condition=Established", "crd/benchmarkruns.podium.dev", "--timeout=30s")
    except ClusterError as error:
        unavailable(error)
    yield path
    if plane:
        plane.down()


@pytest.fixture
def kubectl(kubeconfig: Path) -> Kubectl:
    return kubectl_for(kubeconfig)


@pytest.fixture
def namespace(kubectl: Kubectl) -> Iterator[str]:
    """A namespace of the test's own."""
    name = f"podium-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")
