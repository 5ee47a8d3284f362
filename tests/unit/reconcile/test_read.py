"""Runs as the API server has them."""

from __future__ import annotations

from podium.reconcile import read_run

SPEC = {"round": "v0.6", "benchmark": "resnet", "system": {"name": "a", "nodes": 2}}


def body(spec):
    metadata = {"namespace": "lab", "name": "a", "uid": "1", "generation": 1}
    return {"metadata": metadata, "spec": spec}


def test_runs_that_ask_for_the_same_share_their_spec():
    one, same = read_run(body(SPEC)), read_run(body({**SPEC, "system": dict(SPEC["system"])}))
    other = read_run(body({**SPEC, "system": {"name": "a", "nodes": 3}}))
    assert one.spec is same.spec
    assert (one.spec.system.nodes, other.spec.system.nodes) == (2, 3)


def test_large_specs_are_not_kept():
    large = {**SPEC, "template": {"command": ["a" * 4096] * 3}}
    one, same = read_run(body(large)), read_run(body(large))
    assert one.spec == same.spec
    assert one.spec is not same.spec


def test_a_refused_spec_is_refused_each_time():
    for _ in range(2):
        assert "spec.system" in read_run(body({**SPEC, "system": {"name": "a"}})).refusal
