"""More attempts than the round asks for: the consecutive ones with the median score count, from the run to a review."""

from __future__ import annotations

import json
import shutil

import pytest
from typer.testing import CliRunner

from podium.cli.main import app
from tests.unit.cli.test_own_submissions import SYSTEM, TRAINER, package, stored

__all__ = ["package"]

# Seconds of an epoch in attempts 1 to 7: of the groups of five, 2 to 6 is in the middle.
PACE = "time.sleep((0.01, 0.04, 0.06, 0.05, 0.055, 0.07, 0.1)[int(env['PODIUM_ATTEMPT']) - 1])"


@pytest.fixture(scope="module")
def seven(tmp_path_factory):
    """A result of seven attempts in a round of five, whose score is that of attempts 2 to 6."""
    return stored(tmp_path_factory.mktemp("seven"), TRAINER.replace("time.sleep(0.02)", PACE), attempts=7)


def test_the_result_names_those_that_count(seven, podium_json, podium_text):
    score = json.loads((seven / "result.json").read_text())["score"]
    assert (score["designated"], score["official"], score["valid"]) == ([2, 3, 4, 5, 6], True, True)
    assert set(score["dropped"]) < {2, 3, 4, 5, 6}
    (entry,) = podium_json("score", seven)[1]
    assert (entry["runs"], entry["designated"]) == (7, [2, 3, 4, 5, 6])
    assert entry["minutes"] == pytest.approx(float(score["timeToTrainMinutes"]), abs=1e-4)
    assert "scored are attempts 2, 3, 4, 5, 6: of all 5 consecutive ones" in podium_text("score", seven)[1]
    code, document = podium_json("review", seven)
    assert (code, document["findings"]) == (0, [])


def test_a_report_marks_the_others(seven, tmp_path):
    out = tmp_path / "page.html"
    assert CliRunner().invoke(app, ["report", str(seven), "--out", str(out)]).exit_code == 0
    assert out.read_text().count("not among those that count") == 2


def test_a_package_hands_in_those_that_count_and_keeps_all(seven, package, podium_json):
    code, document, out = package(seven, SYSTEM)
    assert (code, document["findings"]) == (0, [])
    results = out / "ACME/results/box/resnet"
    assert sorted(path.name for path in results.iterdir()) == [f"result_{n}.txt" for n in range(5)]
    assert (results / "result_0.txt").read_bytes() == (seven / "attempts/002/result.txt").read_bytes()
    assert len([*(out / "ACME/podium/box/resnet/attempts").iterdir()]) == 7
    assert (out / "ACME/benchmarks/resnet/box/README.md").read_text().endswith("- `result_4.txt`: attempt 6\n")
    code, reviewed = podium_json("review", out)
    assert (code, reviewed["findings"]) == (0, [])
    (score,) = reviewed["scores"]
    assert (score["official"], sorted(score["times"])) == (True, ["2", "3", "4", "5", "6"])


def test_faster_attempts_than_those_that_count_are_not_handed_in_unnoticed(seven, package, podium_json):
    """The first five, with a result.json that designates them."""
    _, _, out = package(seven, SYSTEM)
    copy, results = out / "ACME/podium/box/resnet", out / "ACME/results/box/resnet"
    for number in range(5):
        shutil.copy(copy / f"attempts/{number + 1:03}/result.txt", results / f"result_{number}.txt")
    document = json.loads((copy / "result.json").read_text())
    document["score"]["designated"] = [1, 2, 3, 4, 5]
    (copy / "result.json").write_text(json.dumps(document))
    code, reviewed = podium_json("review", out)
    assert code == 1
    assert any("score.designated" in finding["message"] for finding in reviewed["findings"])
