"""Published logs of v0.5 and v0.6 scored, against minutes computed independently from the same logs."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from podium.mllog import LogSummary, parse, summarize
from podium.rounds import load_rounds
from podium.rules import goal_of_log, judge
from podium.scoring import TimedAttempt, rule_for, score

PLACES = [folder / "shared" / "data" / "mlperf_logs" for folder in Path(__file__).parents]
LOGS = next((folder for folder in PLACES if folder.exists()), PLACES[0])
EXPECTED = LOGS / "expected.csv"
ENTRIES = list(csv.DictReader(EXPECTED.open())) if EXPECTED.exists() else []
pytestmark = pytest.mark.skipif(not ENTRIES, reason="the published logs are not here")


def read(path: Path) -> LogSummary:
    events, problems = parse(path.read_text(encoding="utf-8", errors="replace"))
    assert problems == []
    return summarize(events)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda row: f"{row['round']}-{row['system']}-{row['benchmark']}")
def test_published_entry(entry: dict[str, str]) -> None:
    round_ = load_rounds()[entry["round"]]
    benchmark = round_.benchmarks[entry["benchmark"]]
    runs = []
    folder = LOGS / entry["round"] / entry["org"] / entry["system"] / entry["benchmark"]
    for path in folder.iterdir():
        log = read(path)
        assert (log.benchmark, log.format) == (entry["benchmark"], round_.log_format)
        verdict = judge(log, goal_of_log(entry["benchmark"], benchmark, round_, "closed"))
        index = int(path.stem.removeprefix("result_"))
        runs.append(TimedAttempt(index, verdict.state, verdict.seconds, log.run_start))
    result = score(runs, rule_for(round_, entry["benchmark"]))
    assert (len(runs), result.failures) == (int(entry["logs"]), int(entry["failed"]))
    assert result.official, result.reasons
    assert result.minutes == pytest.approx(float(entry["olympic_minutes"]), abs=0.0002)
