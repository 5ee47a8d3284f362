"""A run with spec.measure, from `podium run --local` to every command that reads its result."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest
import yaml

from tests.unit.cli.test_own_results import Result, document

PROGRAM = textwrap.dedent(
    """
    import json, time
    def log(key, value=None, **metadata):
        body = {"namespace": "", "time_ms": int(time.time() * 1000), "event_type": "POINT_IN_TIME", "key": key}
        print(":::MLLOG " + json.dumps({**body, "value": value, "metadata": metadata}), flush=True)
    log("run_start")
    for step in range(1, 1000):
        time.sleep(0.1)
        log("tracked_stats", {"throughput": 100.0}, samples_count=10 * step)
    """
)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Two attempts of two seconds, of a program that would train for a hundred."""
    folder = tmp_path_factory.mktemp("rate")
    spec = {
        "round": "v0.6", "benchmark": "mine", "division": "open", "attempts": 2, "quality": {"target": "0.6"},
        "measure": {"warmup": "1s", "duration": "1s"}, "system": {"name": "laptop", "nodes": 1},
        "template": {"image": "mine:1", "command": [sys.executable, "-c", PROGRAM]},
    }  # fmt: skip
    body = {"apiVersion": "podium.dev/v1alpha1", "kind": "BenchmarkRun", "metadata": {"name": "mine"}, "spec": spec}
    (folder / "run.yaml").write_text(yaml.safe_dump(body))
    done = podium("run", "--local", "run.yaml", "--out", "out", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "samples per second" in done.stdout
    return folder / "out"


@pytest.fixture
def result(original, tmp_path):
    place = tmp_path / "out"
    subprocess.run(["cp", "-r", original, place], check=True)
    return Result(place)


def podium(*arguments, cwd):
    command = [sys.executable, "-m", "podium", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


def test_its_attempts_are_ended_and_its_score_is_a_rate(original):
    said = json.loads((original / "result.json").read_text())
    assert (said["measure"], said["outcome"]) == ({"warmup": "1s", "duration": "1s"}, "Complete")
    rates = [float(attempt["samplesPerSecond"]) for attempt in said["attempts"]]
    assert all(60 < rate <= 101 for rate in rates), rates  # a busy machine sleeps longer
    score = said["score"]
    assert float(score["rate"]["samplesPerSecond"]) == pytest.approx((rates[0] * rates[1]) ** 0.5, rel=1e-5)
    assert (score["valid"], score["official"], "timeToTrainMinutes" in score) == (True, False, False)
    assert len((original / "attempts/001/result.txt").read_text().splitlines()) < 100, "its program was ended"


def test_every_command_reads_the_same_rate_from_its_logs(original):
    claimed = float(json.loads((original / "result.json").read_text())["score"]["rate"]["samplesPerSecond"])
    [scored] = json.loads(podium("score", original, "--json", cwd=original).stdout)
    assert scored["samplesPerSecond"] == pytest.approx(claimed, rel=1e-5)
    assert (scored["minutes"], scored["findings"]) == (None, [])
    assert "samples/s" in podium("score", original, cwd=original).stdout
    checked = podium("check", original, cwd=original)
    assert (checked.returncode, "no findings" in checked.stdout) == (0, True), checked.stdout
    report = podium("report", original, "--out", original.parent / "report.html", cwd=original)
    page = (original.parent / "report.html").read_text()
    assert report.returncode == 0, report.stdout
    assert "Time to the target" not in page
    assert f"{claimed:.5g}" in page


def test_two_of_them_are_compared_by_their_rates(original):
    said = podium("compare", original, original, cwd=original)
    assert "seconds per sample: " in said.stdout, said.stdout + said.stderr
    assert "no valid score" not in said.stdout
    expected = podium(
        "compare", original, original, "--expect", "no-slower", "--of", "rate", "--tolerance", "0.9", cwd=original
    )
    assert expected.returncode in (0, 3), expected.stdout  # two attempts on a busy machine may be undecided


def test_it_contradicts_nothing_and_is_no_submission(original):
    said = podium("review", original, cwd=original).stdout
    assert "review." not in said
    assert said.count("package.score") == 1
    assert "the run measures the rate, not the time to train" in said


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (document("result.json", "attempts", 0, "samplesPerSecond", to="999"), "samplesPerSecond"),
        (document("result.json", "score", "rate", to={"samplesPerSecond": "999"}), "score.rate"),
        (document("attempts/001/attempt.json", "samplesPerSecond", to="999"), "samplesPerSecond"),
        (document("result.json", "measure", to={"warmup": "1s", "samples": 5}), "measure"),
        (document("run.yaml", "spec", "measure", to={"warmup": "1s", "samples": 5}), "measure"),
        (
            lambda result: result.edit("attempts/001/result.txt", lambda lines: lines[:12]),
            "reason is RateMeasured here",
        ),
    ],
    ids=["a try in result.json", "the score", "a record", "the window in result.json", "in run.yaml", "a shorter log"],
)
def test_what_was_changed_is_named(result, change, named):
    change(result)
    result.seal()
    said = podium("review", result.place, cwd=result.place).stdout
    assert "review.contradiction" in said
    assert named in said
