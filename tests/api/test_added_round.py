"""A round that an administrator adds: the API server takes its CRD, and runs of it."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from podium.api import crd
from podium.rounds import load_rounds
from tests.api.test_chart import URL, crds, template
from tests.cluster.fixtures import until_served
from tests.unit.rounds.test_adding import ROUND


def test_the_api_server_takes_a_crd_with_it(kubectl, tmp_path: Path, monkeypatch) -> None:
    """Its rules compile, that of a benchmark without a trainer included."""
    (tmp_path / "v9.9.yaml").write_text(ROUND)
    rounds = load_rounds(tmp_path)
    monkeypatch.setattr(crd, "load_rounds", lambda: rounds)
    made = crd.crd()
    assert "v9.9/folding" in json.dumps(made)
    kubectl("apply", "--dry-run=server", "-f", "-", stdin=made)


def test_a_chart_with_it_names_it_in_its_crd(kubectl) -> None:
    def rounds(*words: str) -> list[str]:
        made = crds(template("--set", URL, *words))[0]
        kubectl("apply", "--dry-run=server", "-f", "-", stdin=made)
        spec = made["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        return sorted(spec["properties"]["round"]["enum"])

    own = {"v9.9.yaml": yaml.safe_load(ROUND), "v0.6.yaml": ROUND}
    assert rounds() == [*load_rounds()]
    assert rounds("--set-json", f"rounds={json.dumps(own)}") == [*load_rounds(), "v9.9"]


def test_the_rules_of_the_built_in_rounds_leave_its_runs_to_the_operator(kubectl, namespace) -> None:
    """A round that the CRD only names: its benchmarks and tunables are in the operator's file."""
    made = crd.crd()
    made["metadata"]["name"] = "addedrounds.test.podium.dev"
    made["spec"]["group"] = "test.podium.dev"
    made["spec"]["names"] = {"kind": "AddedRound", "plural": "addedrounds", "singular": "addedround"}
    spec = made["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["round"]["enum"].append("v9.9")
    kubectl("apply", "-f", "-", stdin=made)
    until_served(kubectl, "addedrounds.test.podium.dev")
    run = {
        "apiVersion": "test.podium.dev/v1alpha1",
        "kind": "AddedRound",
        "metadata": {"name": "digits"},
        "spec": {
            "round": "v9.9",
            "benchmark": "digits",
            "system": {"name": "box", "nodes": 1, "acceleratorsPerNode": 8},
            "data": {"persistentVolumeClaim": {"claimName": "data"}},
            "hyperparameters": {"folds": 5, "opt_momentum": 0.9},
        },
    }
    try:
        kubectl("-n", namespace, "apply", "--dry-run=server", "-f", "-", stdin=run)
        run["spec"]["round"] = "v0.6"
        said = kubectl("-n", namespace, "apply", "--dry-run=server", "-f", "-", stdin=run, refused=True)
        assert "benchmark: choose one of" in said
    finally:
        kubectl("delete", "crd", "addedrounds.test.podium.dev")
