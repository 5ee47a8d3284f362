"""Helm and the chart of this checkout."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.cluster import tools
from tests.cluster.fixtures import ROOT

CHART = ROOT / "helm/podium"


def helm(*words: object, kubeconfig: Path | None = None, refused: bool = False) -> str:
    """What Helm prints. A refusal is an AssertionError with its words, or with `refused` what is returned."""
    more = ["--kubeconfig", str(kubeconfig)] if kubeconfig else []
    command = [str(tools.find("helm")), *map(str, words), *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert bool(done.returncode) is refused, f"helm {' '.join(map(str, words))}: {done.stdout}{done.stderr}"
    return done.stderr if refused else done.stdout


def template(*words: object, release: str = "podium", namespace: str = "podium") -> str:
    """The manifests of the chart with these options, as for a cluster with the Prometheus operator."""
    return helm(
        "template", release, CHART, "--namespace", namespace, "--api-versions", "monitoring.coreos.com/v1", *words
    )
