"""Somebody takes Podium's labels off pods and Jobs while they run: no watch shows them anymore, and all go on."""

from __future__ import annotations

import json

import pytest

from tests.api.test_crd import run
from tests.api.test_disturbances import SPEC, leads
from tests.cluster.parts import until

ONCE = {**SPEC, "attempts": 1, "maxRetries": 0}
LABELS = ("podium.dev/run-uid-", "podium.dev/attempt-", "podium.dev/try-")


@pytest.mark.timeout(240)
@pytest.mark.parametrize("restarts", [False, True], ids=["", "the operator restarts"])
def test_an_attempt_whose_labels_are_taken_off_goes_on(cluster, restarts):
    """Those of a pod, of a Job, and of both; also the owner of a Job, and that of a pod, which its Job adopts again."""
    kinds = ("pod", "job", "both", "owner", "pod-owner")
    names = {kind: f"{kind}{'-again' if restarts else ''}" for kind in kinds}

    def attempts():
        runs = {each["metadata"]["name"]: each.get("status", {}) for each in cluster.runs()}
        return [(a["try"], a["state"]) for name in names.values() for a in runs[name].get("attempts", ())]

    operator = cluster.operator(f"operator-{restarts}")
    try:
        operator.start()
        until(lambda: leads(operator), 20, "the operator leads")
        items = [run(ONCE, name) for name in names.values()]
        cluster.kubectl("apply", "-f", "-", stdin={"apiVersion": "v1", "kind": "List", "items": items})
        until(lambda: attempts() == [(0, "Training")] * len(kinds), 30, "all train")
        for kind in ("pod", "both"):
            cluster.kubectl("label", "pod", "-l", f"job-name=podium-{names[kind]}-1-0", *LABELS)
        for kind in ("job", "both"):
            cluster.kubectl("label", "job", f"podium-{names[kind]}-1-0", *LABELS)
        orphaned = ("--type=json", "-p", '[{"op": "remove", "path": "/metadata/ownerReferences"}]')
        cluster.kubectl("patch", "job", f"podium-{names['owner']}-1-0", *orphaned)
        selector = f"job-name=podium-{names['pod-owner']}-1-0"
        cluster.kubectl("patch", cluster.kubectl("get", "pods", "-l", selector, "-o", "name").strip(), *orphaned)
        if restarts:
            operator.kill()
            operator.start()
        until(lambda: all(state != "Training" for _, state in attempts()), 90, "all have ended")
    finally:
        operator.stop()
    assert attempts() == [(0, "Converged")] * len(kinds)
    events = json.loads(cluster.kubectl("get", "events", "-o", "json"))["items"]
    said = {e["involvedObject"]["name"]: e["message"] for e in events if e["reason"] == "LabelMissing"}
    assert said.keys() >= {names["pod"], names["both"]}
    assert f"put it back with kubectl label pod -n default podium-{names['pod']}-1-0-0-" in said[names["pod"]]
