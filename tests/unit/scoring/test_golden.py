"""Published logs against their scores: every entry of expected.csv to 0.01 minutes."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from podium.mllog import parse, reached, seconds, summarize
from podium.scoring import Outcome, TimedRun, rule_for, score
from podium.suites import load_suites

LOGS = Path(__file__).resolve().parents[3].parent / "shared/data/mlperf_logs"
EXPECTED = LOGS / "expected.csv"
ENTRIES = list(csv.DictReader(EXPECTED.open())) if EXPECTED.exists() else []


def timed_run(index, path, benchmark):
    events, _ = parse(path.read_text(errors="replace"))
    summary = summarize(events)
    clock = seconds(summary, benchmark.timed_by)
    good = clock is not None and (
        benchmark.timed_by == "eval_result"
        or (
            summary.run_stop_status in (None, "success")
            and reached(summary, {quality.metric: quality.target for quality in benchmark.quality}) is not None
        )
    )
    return TimedRun(index, Outcome.CONVERGED if good else Outcome.NOT_CONVERGED, clock, summary.run_start)


@pytest.mark.skipif(not ENTRIES, reason="the published logs are not at hand")
@pytest.mark.parametrize("entry", ENTRIES, ids=[f"{e['round']}-{e['system']}-{e['benchmark']}" for e in ENTRIES])
def test_published_entry(entry):
    suite = load_suites()["v" + entry["round"].removeprefix("v")]
    folder = LOGS / f"v{entry['round'].removeprefix('v')}" / entry["org"] / entry["system"] / entry["benchmark"]
    key = {"mask": "maskrcnn"}.get(entry["benchmark"], entry["benchmark"])
    files = sorted(folder.glob("result_*.txt"), key=lambda path: int(path.stem.removeprefix("result_")))
    runs = [timed_run(i, path, suite.benchmarks[key]) for i, path in enumerate(files)]
    assert len(runs) == int(entry["logs"])
    assert sum(run.outcome is not Outcome.CONVERGED for run in runs) == int(entry["failed"])
    result = score(runs, rule_for(suite, key))
    assert result.valid
    assert result.minutes == pytest.approx(float(entry["olympic_minutes"]), abs=0.01)
