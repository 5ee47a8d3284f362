"""Runs that nest a hyperparameter as deeply as an API server allows: the operator goes on for all others."""

from __future__ import annotations

import json

from tests.api.test_crd import OPEN, run
from tests.api.test_operator import readiness, replicas  # noqa: F401 - a fixture
from tests.cluster.parts import until

DEEP = {  # json.dumps could not write them
    "lists": "[" * 9000 + "]" * 9000,
    "objects": '{"a":' * 3000 + "1" + "}" * 3000,  # those also nest in metadata.managedFields
    "readable": "[" * 950 + "]" * 950,
}


def test_deeply_nested_runs_stop_no_others(kubectl, namespace, replicas, tmp_path):  # noqa: F811
    operator = replicas[0]
    operator.start()
    until(lambda: readiness(operator) == "leading", 20, "the operator leads")
    for name, value in DEEP.items():
        body = run({**OPEN, "hyperparameters": {"a": "DEEP"}}, name)
        (tmp_path / name).write_text(json.dumps(body).replace('"DEEP"', value))
        path = f"/apis/podium.dev/v1alpha1/namespaces/{namespace}/benchmarkruns"
        kubectl("create", "--raw", path, "-f", str(tmp_path / name))

    def refused():
        path = '{range .items[*]}{.metadata.name} {.status.conditions[?(@.type=="Failed")].message}{"\\n"}{end}'
        found = kubectl("-n", namespace, "get", "benchmarkruns", "-o", f"jsonpath={path}").splitlines()
        return {line.partition(" ")[0] for line in found if "spec: nested more than 32 levels deep" in line}

    def has_job(name):
        return f"podium-{name}-1-0" in kubectl("-n", namespace, "get", "jobs", "-o", "name")

    until(lambda: refused() == DEEP.keys(), 20, "the deep runs are refused")
    kubectl("-n", namespace, "apply", "-f", "-", stdin=run(OPEN, "after"))
    until(lambda: has_job("after"), 20, "a Job beside them")
    operator.kill()
    operator.start()  # it lists all of them anew
    until(lambda: readiness(operator) == "leading", 30, "the operator leads again")
    kubectl("-n", namespace, "apply", "-f", "-", stdin=run(OPEN, "later"))
    until(lambda: has_job("later"), 20, "a Job after a restart")
    assert "watching BenchmarkRuns failed" not in operator.log.read_text()
    assert operator.stop() == 0
