"""What ``podium validate`` says of a value that has the wrong form."""

from __future__ import annotations

import pytest

from tests.unit.cli.test_validate import run_file


@pytest.mark.parametrize(
    ("spec", "where", "message", "remedy"),
    [
        ({"deadlines": {"run": "10 minutes"}}, "spec.deadlines.run", "'10 minutes' is not a duration", "write 10m"),
        ({"deadlines": {"run": "2 hrs"}}, "spec.deadlines.run", "'2 hrs' is not a duration", "write 2h"),
        (
            {"deadlines": {"run": "1d"}},
            "spec.deadlines.run",
            "'1d' is not a duration",
            "write hours, minutes and seconds, such as 90s, 10m or 1h30m",
        ),
        (
            {"deadlines": {"run": 600}},
            "spec.deadlines.run",
            "600 is a number, and must be text",
            "give it a unit, such as 600s",
        ),
        (
            {"division": "open", "quality": {"target": 0.7}},
            "spec.quality.target",
            "0.7 is a number, and must be text",
            'quote it: "0.7"',
        ),
        (
            {"template": {"resources": {"limits": {"memory": "64ki"}}}},
            "spec.template.resources.limits.memory",
            "'64ki' is not a quantity",
            "write it as Kubernetes does, such as 8, 500m, 64Gi or 65536Ki",
        ),
        (
            {"system": {"name": "My Box", "nodes": 1, "acceleratorsPerNode": 8}},
            "spec.system.name",
            "'My Box' is not a name",
            'use lowercase letters and digits, and "-" between them',
        ),
        ({"hyperparamters": {}}, "spec.hyperparamters", "unknown field", "did you mean hyperparameters?"),
        (
            {"system": {"name": "box", "nodes": 1, "acceleratorPerNode": 8}},
            "spec.system.acceleratorPerNode",
            "unknown field",
            "did you mean acceleratorsPerNode?",
        ),
        ({"suspend": "maybe"}, "spec.suspend", "must be true or false", ""),
        ({"attempts": 1.5}, "spec.attempts", "must be a whole number", ""),
        ({"division": "both"}, "spec.division", "must be 'closed', 'open' or 'outOfTheBox'", ""),
        ({"benchmark": True}, "spec.benchmark", "must be text", ""),
    ],
)
def test_a_form_error_says_what_to_write(podium_json, tmp_path, spec, where, message, remedy):
    code, (document,) = podium_json("validate", run_file(tmp_path, **spec))
    assert code == 1
    assert [(f["where"], f["message"], f["remedy"]) for f in document["findings"]] == [(where, message, remedy)]


@pytest.mark.parametrize("quantity", ["65536Ki", ".5", "1e9", "100u", "8", 8])
def test_quantities_are_written_as_kubernetes_accepts_them(podium_json, tmp_path, quantity):
    path = run_file(tmp_path, template={"resources": {"limits": {"memory": quantity}}})
    assert podium_json("validate", path)[0] == 0
