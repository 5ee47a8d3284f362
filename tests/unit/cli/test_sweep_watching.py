"""What ``podium sweep watch`` prints of the statuses that it sees."""

from __future__ import annotations

import io
import json

from podium.api.sweep import BenchmarkSweepStatus
from podium.cli.output import PlainConsole
from podium.cli.sweep_watch import SeenSweep, SweepView, progress
from podium.reconcile.sweep import failed_sweep, waiting_sweep
from tests.unit.cli.conftest import assert_harmless
from tests.unit.reconcile.test_sweep import World, node, sweep
from tests.unit.report.sweeps import seen

NOTHING = BenchmarkSweepStatus()


def fleet(slow=0.9):
    nodes = [node(f"gpu-{index:02}") for index in range(15)] + [node("gpu-15", problem="node gpu-15 is cordoned")]
    return World(sweep(parallel=5), nodes, lambda row: 2450.0 * (slow if row == "gpu-03" else 1.0), 0.004)


def printed(statuses):
    out = PlainConsole(file=io.StringIO(), width=100)
    view = SweepView(out, as_json=False)
    for status in statuses:
        view.changed(status)
    view.conclude(status)
    return out.file.getvalue().splitlines()


def test_a_bad_row_is_named_once_and_progress_has_a_line_for_each_change():
    lines = printed(each for status in seen(fleet(), "s3://b/sweep.json") for each in (status, status))
    table = lines.index(next(line for line in lines if line.startswith("Row ")))
    assert lines[0] == "gpu-15: Failed: node gpu-15 is cordoned"
    assert [line.partition(":")[0] for line in lines[1:table]] == [
        "1 of 16 rows are measured",
        "6 of 16 rows are measured",
        "11 of 16 rows are measured",
        "16 of 16 rows are measured",
        "gpu-03",
        "Complete",
    ]
    assert lines[table - 1] == "Complete: 14 ok, 1 slow, 1 failed"
    assert [line.split()[0] for line in lines[table + 1 :]] == ["gpu-15", "gpu-03", "Result:"]


def test_many_outliers_make_a_short_table():
    nodes = [node(f"gpu-{index:02}", problem="node is cordoned") for index in range(30)]
    lines = printed(seen(World(sweep(), nodes), "s3://b/sweep.json"))
    assert lines[-2:] == ["and 10 more", "Result: s3://b/sweep.json"]


def test_all_is_ok_only_if_every_row_is():
    assert [list(seen(fleet(slow), ""))[-1].all_ok for slow in (1.0, 0.9)] == [False, False], "a node is cordoned"
    *_, last = seen(World(sweep(), [node(f"gpu-{index:02}") for index in range(16)], noise=0.004), "")
    assert (last.all_ok, last.ended) == (True, True)
    assert not SeenSweep("lab", "fleet", 1, NOTHING).all_ok


def test_what_holds_a_sweep_up_is_said():
    assert progress(NOTHING) == "waiting for the operator"
    assert progress(waiting_sweep(sweep(), (), "nodes is forbidden", 1.0)) == "nodes is forbidden"
    failed = failed_sweep(sweep(), "spec.template.flavor: unknown field", 1.0)
    assert progress(failed) == "Failed: InvalidSpec: spec.template.flavor: unknown field"
    assert SeenSweep("lab", "fleet", 1, failed).ended
    assert not SeenSweep("lab", "fleet", 2, failed).ended, "it was corrected, and the operator has not looked yet"


def test_an_outage_has_one_line():
    out = PlainConsole(file=io.StringIO(), width=100)
    view = SweepView(out, as_json=False)
    view.changed(SeenSweep("lab", "fleet", 1, NOTHING))
    view.outage("refused")
    view.outage("refused")
    view.changed(SeenSweep("lab", "fleet", 1, NOTHING))
    assert out.file.getvalue().splitlines() == [
        "waiting for the operator",
        "the API server does not answer, retrying: refused",
        "the API server responds again",
    ]


def test_as_json(capsys):
    view = SweepView(PlainConsole(), as_json=True)
    for status in seen(fleet(), "s3://b/sweep.json"):
        view.changed(status)
    view.outage("refused")
    view.conclude(status)
    *statuses, last = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert last == {"event": "outage", "message": "refused"}
    assert {event["event"] for event in statuses} == {"status"}
    assert statuses[-1]["status"]["counts"]["slow"] == 1


def test_nothing_of_a_status_reaches_the_terminal():
    row = {"name": "\x1b]0;a\x07\u202e", "verdict": "Slow", "reason": "\x1b[2J", "deviation": "\x1b", "rate": "\x1b[1m"}
    status = BenchmarkSweepStatus.model_validate({"rows": [row]})
    assert_harmless("\n".join(printed([SeenSweep("lab", "fleet", 1, status)])))
