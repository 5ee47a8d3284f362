"""decide_sweep(): which runs a sweep makes, and what it says of its rows."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from podium.api import BenchmarkRunSpec
from podium.api.sweep import BenchmarkSweepSpec, BenchmarkSweepStatus, SweepResult, merged
from podium.reconcile import sweep as reconcile_sweep
from podium.reconcile.sweep import Node, Sweep, SweepRun, ended_sweep, run_name
from podium.rounds import load_rounds
from podium.rules import check_admission

TEMPLATE = {
    "round": "v0.6", "benchmark": "resnet", "division": "open", "preset": "tiny", "attempts": 1,
    "measure": {"warmup": "1m", "duration": "5m"}, "quality": {"target": "0.9"},
    "system": {"name": "fleet", "nodes": 1, "acceleratorsPerNode": 8},
}  # fmt: skip
ROUNDS = load_rounds()
UID = "11111111-2222-3333-4444-555555555555"


def decide_sweep(of, nodes, runs, now):
    return reconcile_sweep.decide_sweep(of, nodes, runs, ROUNDS, now)


def node(name, gpus="8", problem=""):
    return Node(name, {"nvidia.com/gpu": gpus}, problem)


def sweep(status=None, **spec):
    given = {"over": "nodes", "nodes": {"selector": {"pool": "gpu"}}, "template": TEMPLATE, "parallel": 100, **spec}
    if given["over"] != "nodes":
        del given["nodes"]
    return Sweep("lab", "fleet", UID, 1, BenchmarkSweepSpec.model_validate(given), status or BenchmarkSweepStatus())


class World:
    """A cluster in which each run ends with the rate of its row, and a sweep is decided again and again."""

    def __init__(self, of, nodes=(), rate=lambda row: 100.0, noise=0.0, seed=1):
        self.sweep, self.nodes, self.rate, self.noise = of, list(nodes), rate, noise
        self.runs: dict[str, SweepRun] = {}
        self.random = random.Random(seed)
        self.most = 0

    def step(self):
        decision = decide_sweep(self.sweep, self.nodes, list(self.runs.values()), 1.0)
        if decision.end:
            status = ended_sweep(self.sweep, decision.end, SweepResult(uri="file:///sweep.json", sha256="0"), 1.0)
            decision = replace(decision, status=status)
        self.sweep = replace(self.sweep, status=decision.status)
        for run in decision.create:
            assert run.name not in self.runs
            BenchmarkRunSpec.model_validate(run.spec)
            assert not list(check_admission(run.name, BenchmarkRunSpec.model_validate(run.spec)))
            self.runs[run.name] = SweepRun(run.name, run.row, run.number, ended=False)
        self.most = max(self.most, sum(not run.ended for run in self.runs.values()))
        return decision

    def finish(self):
        for name, run in self.runs.items():
            if not run.ended:
                rate = self.rate(run.row)
                rates = () if rate is None else (rate * (1 + self.random.gauss(0, self.noise)),)
                failure = "" if rate is not None else "AttemptFailed: attempt 1 failed: DeviceError: no GPU"
                self.runs[name] = replace(run, ended=True, rates=rates, failure=failure)

    def to_the_end(self, steps=100):
        for _ in range(steps):
            decision = self.step()
            if decision.status.ended:
                return decision.status
            self.finish()
        raise AssertionError("it never ends")


def verdicts(status):
    return {row.name: row.verdict for row in status.rows}


def test_each_node_gets_a_run_that_only_it_can_run():
    world = World(sweep(), [node("b"), node("a")])
    made = world.step().create
    assert [run.row for run in made] == ["a", "b"]
    required = made[0].spec["template"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert required == {
        "nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a"]}]}]
    }
    assert not world.step().create, "they are running"


def test_the_slow_nodes_of_a_fleet_are_found_and_measured_more_often():
    slow = {"gpu-7", "gpu-40"}
    fleet = [node(f"gpu-{index}") for index in range(64)]
    world = World(sweep(), fleet, lambda row: 95.0 if row in slow else 100.0, noise=0.004)
    status = world.to_the_end()
    assert {name for name, verdict in verdicts(status).items() if verdict == "Slow"} == slow
    assert (status.counts.rows, status.counts.ok, status.counts.slow, status.counts.running) == (64, 62, 2, 0)
    assert status.worst.startswith(("gpu-7 -5", "gpu-40 -5"))
    assert len(world.runs) < 100
    assert status.conditions[0].message == "62 ok, 2 slow"


def test_a_row_has_one_run_at_a_time():
    world = World(sweep(verdict={"minRuns": 2}), [node("a"), node("b")])
    assert len(world.step().create) == 2
    assert not world.step().create
    world.finish()
    assert [run.number for run in world.step().create] == [2, 2]


def test_nothing_is_repeated_while_a_row_has_not_been_measured_once():
    world = World(sweep(), [node("a"), node("b"), node("c")], lambda row: {"a": 100.0, "b": 90.0, "c": 100.0}[row])
    world.step()
    late = next(name for name, run in world.runs.items() if run.row == "c")
    world.finish()
    world.runs[late] = replace(world.runs[late], ended=False, rates=())
    assert not world.step().create
    world.finish()
    assert {run.row for run in world.step().create} >= {"b"}


def test_no_more_runs_than_asked_for_at_the_same_time():
    world = World(sweep(parallel=3), [node(f"n{index}") for index in range(10)], noise=0.002)
    world.to_the_end()
    assert world.most == 3


def test_a_node_that_cannot_run_anything_is_a_row_with_its_reason():
    nodes = [
        node("broken", "7"),
        node("cordoned", problem="node cordoned is cordoned"),
        *(node(f"n{index}") for index in range(8)),
    ]
    status = World(sweep(), nodes, noise=0.002).to_the_end()
    reasons = {row.name: row.reason for row in status.rows if row.verdict == "Failed"}
    assert reasons == {
        "broken": "node broken has 7 nvidia.com/gpu allocatable; the template wants 8",
        "cordoned": "node cordoned is cordoned",
    }
    assert (status.counts.ok, status.counts.failed) == (8, 2)


def test_a_run_that_fails_is_the_rows_reason_and_is_not_repeated():
    world = World(sweep(), [node(f"n{index}") for index in range(9)], lambda row: None if row == "n3" else 100.0)
    status = world.to_the_end()
    failed = next(row for row in status.rows if row.name == "n3")
    assert (failed.verdict, failed.reason) == ("Failed", "AttemptFailed: attempt 1 failed: DeviceError: no GPU")
    assert len(failed.runs) == 1


def test_nodes_that_come_late_get_a_row_and_those_that_vanish_keep_theirs():
    world = World(sweep(), [node("a"), node("b"), node("c")])
    world.step()
    world.nodes = [node("a"), node("b"), node("d")]
    world.finish()
    status = world.to_the_end()
    assert [row.name for row in status.rows] == ["a", "b", "c", "d"]
    late = World(sweep(status=world.sweep.status), [node("d")])
    rows = {row.name: row for row in late.step().status.rows}
    assert (rows["c"].verdict, rows["c"].reason) == ("Failed", "node c is gone")


def test_groups_of_nodes_stay_together():
    world = World(
        sweep(nodes={"selector": {"pool": "gpu"}, "groupSize": 2}), [node(n) for n in ("d", "c", "b", "a", "e")]
    )
    made = world.step().create
    assert [run.row for run in made] == ["a and 1 more", "c and 1 more"]
    assert made[0].spec["system"]["nodes"] == 2
    world.nodes.insert(0, node("0"))
    assert [row.nodes for row in world.step().status.rows] == [("a", "b"), ("c", "d"), ("0", "e")]


def test_names_of_nodes_may_have_dots_and_253_characters():
    names = [f"{'x' * 60}.{'y' * 63}.{'z' * 63}.{index}" for index in range(3)]
    world = World(replace(sweep(), name="9.accept-" + "f" * 200), [node(name) for name in names])
    assert len({run.name for run in world.step().create}) == 3


def test_node_counts_make_a_scaling_curve():
    world = World(
        sweep(over="nodeCounts", nodeCounts=[1, 2, 4]),
        rate=lambda row: {"1": 100, "2": 196, "4": 250}[row[0]],
        noise=0.002,
    )
    status = world.to_the_end()
    assert verdicts(status) == {"1 node": "Ok", "2 nodes": "Ok", "4 nodes": "Slow"}
    assert status.rows[2].reason.startswith("efficiency 6")
    assert {run.row for run in world.runs.values()} == {"1 node", "2 nodes", "4 nodes"}
    assert "up to 2 nodes" in status.conditions[0].message


def test_variants_are_compared_with_the_first():
    patch = {"template": {"nodeSelector": {"driver": "570"}}}
    variants = [{"name": "driver-550", "patch": {}}, {"name": "driver-570", "patch": patch}]
    spec = sweep(over="variants", variants=variants, verdict={"minRuns": 3})
    world = World(spec, rate=lambda row: 100.0 if row == "driver-550" else 92.0, noise=0.003)
    first = world.step().create
    assert first[1].spec["template"] == {"nodeSelector": {"driver": "570"}}
    world.finish()
    status = world.to_the_end()
    assert verdicts(status) == {"driver-550": "Ok", "driver-570": "Slow"}
    assert status.rows[1].reason == "slower than driver-550"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"template": {**TEMPLATE, "round": 5}}, 'spec.template.round: 5 is a number, and must be text; quote it: "5"'),
        ({"template": {**TEMPLATE, "flavor": "red"}}, "spec.template.flavor: unknown field"),
        (
            {"template": {**TEMPLATE, "benchmark": "resnet50"}},
            "spec.template.benchmark: v0.6 has no 'resnet50' (did you mean resnet?); choose one of",
        ),
        (
            {"template": {**TEMPLATE, "preset": "full"}},
            "spec.template.data.persistentVolumeClaim.claimName: the full preset reads its data set from a claim",
        ),
        (
            {"template": {**TEMPLATE, "system": {"name": "fleet", "nodes": 1, "preset": "tiny"}}},
            "spec.template.system.preset: unknown field; set spec.template.preset",
        ),
        (
            {"over": "variants", "variants": [{"name": "a", "patch": {}}, {"name": "b", "patch": {"round": "v9"}}]},
            "spec.variants.b.patch.round: unknown round 'v9'; choose one of",
        ),
        (
            {"over": "variants", "variants": [{"name": "a", "patch": {}}, {"name": "a", "patch": {}}]},
            "spec.variants.a: 2 variants have this name; give each a different one",
        ),
        ({"verdict": {"minRuns": 5, "maxRuns": 4}}, "spec.verdict.maxRuns: 4 is less than minRuns, 5"),
        (
            {"verdict": {"tolerance": "3"}},
            'spec.verdict.tolerance: 3 is not a ratio below 1; use "0.03" for 3 percent',
        ),
        (
            {"template": {**TEMPLATE, "ttlSecondsAfterFinished": 60}},
            "spec.template.ttlSecondsAfterFinished: a sweep needs its runs, and they are deleted with it; leave it out",
        ),
    ],
)
def test_a_wrong_spec_fails_at_once_and_says_why(change, message):
    status = decide_sweep(sweep(**change), [node("a")], [], 1.0).status
    assert status.ended
    assert status.conditions[1].type == "Failed"
    assert status.conditions[1].message.startswith(message)


def test_what_is_wrong_with_the_template_is_said_once():
    """Not again for each variant."""
    variants = [{"name": "a", "patch": {}}, {"name": "b", "patch": {"attempts": 2}}]
    spec = sweep(over="variants", variants=variants, template={**TEMPLATE, "flavor": "red"})
    message = decide_sweep(spec, [], [], 1.0).status.conditions[1].message
    assert message == "spec.template.flavor: unknown field"


def test_runs_of_two_templates_are_never_compared():
    world = World(sweep(), [node("a"), node("b")])
    world.step()
    changed = replace(world.sweep, spec=sweep(template={**TEMPLATE, "attempts": 2}).spec)
    assert "create a new BenchmarkSweep" in decide_sweep(changed, world.nodes, [], 1.0).status.conditions[1].message


def test_a_template_that_was_refused_may_be_corrected():
    wrong = sweep(template={**TEMPLATE, "round": 5})
    refused = decide_sweep(wrong, [node("a")], [], 1.0).status
    corrected = replace(sweep(status=refused), generation=2)
    assert [run.row for run in decide_sweep(corrected, [node("a")], [], 2.0).create] == ["a"]


def test_a_sweep_that_is_decided_twice_makes_each_run_once():
    """An operator that dies after any write leaves runs that the status does not list yet."""
    nodes = [node(f"n{index}") for index in range(4)]
    fresh = sweep()
    once, again = (decide_sweep(fresh, nodes, [], 1.0).create for _ in range(2))
    assert once == again
    part = [SweepRun(run.name, run.row, run.number, ended=False) for run in once[:2]]
    rest = decide_sweep(fresh, nodes, part, 1.0).create
    assert [run.name for run in rest] == [run.name for run in once[2:]]


def test_merge_patches():
    assert merged({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": None, "e": 5}, "d": [1]}) == {
        "a": {"c": 2, "e": 5},
        "d": [1],
    }


def test_the_same_row_of_another_sweep_has_another_run():
    assert run_name(sweep(), "a", 1) != run_name(replace(sweep(), uid=UID[::-1]), "a", 1)
