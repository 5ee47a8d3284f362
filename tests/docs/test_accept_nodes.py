"""The page on new nodes: its sweeps are valid, and what it shows is what the commands print."""

from __future__ import annotations

import io

import pytest
import yaml

from podium.api.sweep import BenchmarkSweepSpec
from podium.cli.output import PlainConsole
from podium.cli.sweep_watch import SweepView
from podium.report import outcome, read_sweep_report
from podium.rounds import load_rounds
from podium.rules import check_sweep
from tests.docs.blocks import DOCS, blocks
from tests.unit.reconcile.test_sweep import World, node, sweep
from tests.unit.report.sweeps import seen, stored

PAGE = DOCS / "how-to/accept-nodes.md"
SWEEP, *PARTS = [yaml.safe_load(block.text) for block in blocks(PAGE, "yaml")]
URI = "s3://my-bucket/podium/lab/new-nodes-1a2b3c4d/sweep.json"


def fleet() -> World:
    """The 64 nodes of the page."""
    nodes = [node(f"gpu-{index:02}", "7" if index == 63 else "8") for index in range(64)]
    factors = {"gpu-07": 0.95, "gpu-40": 0.93}
    return World(sweep(parallel=16), nodes, lambda row: 2450.0 * factors.get(row, 1.0), 0.004)


@pytest.mark.parametrize("part", [{}, *PARTS], ids=["nodes", "nodeCounts", "variants"])
def test_the_sweeps_would_be_carried_out(part):
    spec = dict(SWEEP["spec"]) | part
    if part:
        del spec["nodes"]
    assert not check_sweep(BenchmarkSweepSpec.model_validate(spec), load_rounds())


def test_what_the_page_shows_is_what_is_printed():
    out = PlainConsole(file=io.StringIO(), width=100)
    view = SweepView(out, as_json=False)
    for each in seen(fleet(), URI):
        view.changed(each)
    view.conclude(each)
    printed = [line.rstrip() for line in out.file.getvalue().splitlines()]
    started, reported = (block.text for block in blocks(PAGE, "console") if "podium sweep" in block.text)
    shown = started.partition("podium sweep watch new-nodes --namespace lab\n")[2].splitlines()
    assert shown == printed
    report = read_sweep_report(stored(fleet()), "sweep.json")
    assert reported.splitlines()[-1] == outcome(report)
