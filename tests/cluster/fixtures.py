"""Fixtures for tests that need real parts.

Without a part of the machine a test is skipped, and fails where ``CI=true``. Without a program that make builds it
fails everywhere, with the command that builds it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import tools
from tests.cluster.controlplane import ControlPlane
from tests.cluster.parts import until
from tests.cluster.processes import MissingPartError, NotBuiltError

ROOT = Path(__file__).resolve().parents[2]
_SAFE_CONTEXTS = re.compile(r"podium-test|minikube|kind-.+|k3d-.+")

Kubectl = Callable[..., str]


@contextmanager
def needed_parts() -> Iterator[None]:
    """Skip the test for a part that this machine lacks, or fail it where ``CI=true``. One that breaks always fails it."""
    try:
        yield
    except NotBuiltError as error:
        pytest.fail(str(error), pytrace=False)
    except MissingPartError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


def since(minor: int, what: str) -> pytest.MarkDecorator:
    """Skip a test where the control plane is older than Kubernetes 1.`minor`, and so lacks `what`."""
    version = tools.kubernetes_version()
    return pytest.mark.skipif(tools.kubernetes_minor() < minor, reason=f"Kubernetes {version} has no {what}")


def given_kubeconfig(folder: Path) -> Path | None:
    """The cluster of ``KUBECONFIG``, when its context is one that tests may write to.

    The file is a copy in `folder` with that context alone, so that switching contexts meanwhile does not affect the tests.
    """
    if not os.environ.get("KUBECONFIG"):
        return None
    command = [str(tools.find("kubectl")), "config", "view", "--minify", "--flatten", "--raw", "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.exit(f"KUBECONFIG is set and cannot be read: {done.stderr}", 2)
    context = json.loads(done.stdout)["current-context"]
    if context != os.environ.get("PODIUM_TEST_CONTEXT") and not _SAFE_CONTEXTS.fullmatch(context):
        pytest.exit(f"KUBECONFIG points to the context {context!r}: set PODIUM_TEST_CONTEXT={context} to test there", 2)
    copy = folder / "kubeconfig"
    copy.touch(0o600)
    copy.write_text(done.stdout)
    return copy


def apply_crds(kubeconfig: Path) -> None:
    """The CRDs of this checkout, served."""
    kubectl = kubectl_for(kubeconfig)
    kubectl("apply", "--server-side", "--force-conflicts", "-f", ROOT / "crds")
    for plural in ("benchmarkruns", "benchmarksweeps"):
        until_served(kubectl, f"{plural}.podium.dev")


def until_served(kubectl: Kubectl, crd: str) -> None:
    """Wait until the API server serves a CRD."""
    types = "jsonpath={.status.conditions[*].type}"
    until(lambda: kubectl("get", f"crd/{crd}", "-o", types), 30, f"{crd} has conditions")  # kubectl wait needs some
    kubectl("wait", "--for=condition=Established", f"crd/{crd}", "--timeout=30s")


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
    """A cluster's kubeconfig with the CRD applied: the given one, else that of a new control plane."""
    folder = tmp_path_factory.mktemp("plane")
    with needed_parts(), ExitStack() as cleanup:
        path = given_kubeconfig(folder)
        if path is None:
            plane = ControlPlane(folder)
            cleanup.callback(plane.down)
            plane.up()
            path = plane.kubeconfig
        apply_crds(path)
        yield path


@pytest.fixture
def kubectl(kubeconfig: Path) -> Kubectl:
    return kubectl_for(kubeconfig)


@pytest.fixture
def namespace(kubectl: Kubectl) -> Iterator[str]:
    """A namespace for one test."""
    name = f"podium-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")
