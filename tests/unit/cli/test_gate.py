"""``podium gate`` and ``podium history --trend``: a new result, and those before it."""

from __future__ import annotations

import json
import random
from xml.etree import ElementTree as ET

import pytest

from tests.unit.cli.conftest import assert_harmless
from tests.unit.cli.logs import lora_run, write

DAY = 86_400
PACE = 0.125  # seconds per sample


def result(place, day, pace=PACE, attempts=3, system="box"):
    """A result of that day. Its attempts differ by a thousandth, and results by half a percent at most."""
    rng = random.Random(f"{day}")
    of_the_day = pace * (1 + 0.005 * (2 * rng.random() - 1))
    runs = [
        lora_run(
            at=DAY * day + 9_000 * n,
            seed=1000 * day + n,
            evaluations=4 + n % 3,
            seconds_per_sample=of_the_day * (1 + 0.001 * (n % 3)),
        )
        for n in range(attempts)
    ]
    return write(place / f"day-{day:03}" / system / "llama2_70b_lora", runs).parent


@pytest.fixture
def history(tmp_path):
    """Twelve results, one a day."""
    for day in range(1, 13):
        result(tmp_path / "history", day)
    return tmp_path / "history"


@pytest.mark.parametrize(
    ("slower", "options", "code", "word"),
    [
        (1.0, (), 0, "passed"),
        (0.95, (), 0, "passed"),
        (1.08, (), 1, "FAILED"),
        (1.03, (), 3, "undecided"),
        (1.08, ("--max-slowdown", "12 %"), 0, "passed"),
        (1.03, ("--max-slowdown", "0.5%"), 1, "FAILED"),
    ],
)
def test_a_new_result_against_its_history(podium_text, history, tmp_path, slower, options, code, word):
    new = result(tmp_path / "new", 20, slower * PACE)
    found, said = podium_text("gate", new, "--history", history, *options)
    assert (found, said.split()[0]) == (code, word), said
    words = " ".join(said.split())
    assert "llama2_70b_lora, box: seconds per sample: " in words
    assert "than 12 earlier results since 2019-06-09 (95 % interval: " in words


def test_neither_itself_nor_later_results_count(podium_json, history, tmp_path):
    """The answer stays the same when more results are stored."""
    new = result(history, 20, 1.08 * PACE)
    code, before = podium_json("gate", new, "--history", history)
    for day in range(21, 30):
        result(history, day, 1.08 * PACE)
    assert podium_json("gate", new, "--history", history) == (code, before)
    assert (code, before[0]["passed"]) == (1, False)
    assert before[0]["ratio"] == pytest.approx(1.08, abs=0.01)
    low, high = before[0]["interval"]
    assert low < before[0]["ratio"] < high


def test_only_results_since_the_last_change_count(podium_json, history, tmp_path):
    for day in range(13, 20):
        result(history, day, 1.1 * PACE)  # a driver that everybody knows of
    code, (check,) = podium_json("gate", result(tmp_path / "new", 30, 1.1 * PACE), "--history", history)
    assert code == 0
    assert "than 7 earlier results since 2019-06-21" in check["sentence"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [({"system": "other"}, "no earlier result with the same round, benchmark, system, chips and batch size")],
)
def test_without_earlier_results_nothing_is_decided(podium_json, history, tmp_path, change, sentence):
    code, (check,) = podium_json("gate", result(tmp_path / "new", 20, **change), "--history", history)
    assert (code, check["passed"]) == (3, None)
    assert sentence in check["sentence"]


@pytest.mark.parametrize(("slower", "code"), [(1.0, 0), (1.1, 1)])
def test_a_new_result_against_one_baseline(podium_json, tmp_path, slower, code):
    base, new = result(tmp_path / "base", 1), result(tmp_path / "new", 2, slower * PACE)
    found, (check,) = podium_json("gate", new, "--baseline", base)
    assert (found, check["passed"]) == (code, code == 0), check
    found, (check,) = podium_json("gate", new, "--baseline", base, "--of", "time-to-train")
    assert (found, check["passed"]) == (3, None)  # four to six evaluations until the target


def test_pipelines_read_the_checks(podium_text, history, tmp_path):
    """As JUnit's XML, in which what is not decided is an error, and as CTRF, in which it is "other"."""
    for day, slower, kind, status in (
        (20, 1.0, "system-out", "passed"),
        (21, 1.08, "failure", "failed"),
        (22, 1.03, "error", "other"),
    ):
        new = result(tmp_path / "new", day, slower * PACE)
        xml, ctrf = tmp_path / f"{day}.xml", tmp_path / f"{day}.json"
        podium_text("gate", new, "--history", history, "--junit", xml, "--ctrf", ctrf)
        root = ET.fromstring(xml.read_bytes())
        (case,) = root.iter("testcase")
        assert (case.get("classname"), case.get("name")) == ("llama2_70b_lora", "box: seconds per sample")
        assert [child.tag for child in case] == [kind]
        assert [root.get(name) for name in ("tests", "failures", "errors")] == [
            "1", str(int(kind == "failure")), str(int(kind == "error")),
        ]  # fmt: skip
        assert_ctrf(json.loads(ctrf.read_text()), status)


def assert_ctrf(document, status):
    """The fields that CTRF's schema requires, with their types and no others."""
    assert (set(document), document["reportFormat"]) == ({"reportFormat", "specVersion", "results"}, "CTRF")
    results = document["results"]
    assert set(results) == {"tool", "summary", "tests"}
    summary = results["summary"]
    assert set(summary) == {"tests", "passed", "failed", "skipped", "pending", "other", "start", "stop"}
    assert all(isinstance(value, int) for value in summary.values())
    assert summary["tests"] == sum(summary[word] for word in ("passed", "failed", "skipped", "pending", "other")) == 1
    (test,) = results["tests"]
    assert (test["status"], summary[status]) == (status, 1)
    assert isinstance(test["name"], str)
    assert isinstance(test["duration"], int)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "name what to compare with: either --history or --baseline"),
        (("--history", ".", "--baseline", "."), "name what to compare with: either --history or --baseline"),
        (("--history", ".", "--max-slowdown", "3"), "--max-slowdown 3: expected a percentage above 0, such as 3%"),
        (("--history", ".", "--max-slowdown", "0%"), "--max-slowdown 0%: expected a percentage above 0, such as 3%"),
        (("--history", "nowhere"), "nowhere: no such file or folder"),
    ],
)
def test_wrong_use(podium_text, tmp_path, monkeypatch, words, sentence):
    result(tmp_path, 1)
    monkeypatch.chdir(tmp_path)
    assert podium_text("gate", ".", *words) == (2, sentence)
    assert podium_text("gate", ".", "--history", ".", "--junit", "no/such.xml")[1].startswith("--junit no/such.xml: ")


def test_names_of_strangers_do_no_harm(podium_text, tmp_path):
    odd = "<b>&\x1b[31m\u202e"
    for day in (1, 2, 3):
        result(tmp_path / "history", day, system=odd)
    new, xml = result(tmp_path / "new", 9, system=odd), tmp_path / "gate.xml"
    code, said = podium_text("gate", new, "--history", tmp_path / "history", "--junit", xml)
    assert_harmless(said)
    assert_harmless(xml.read_text())
    (case,) = ET.fromstring(xml.read_bytes()).iter("testcase")
    assert (code, case.get("name").startswith("<b>&")) == (0, True)


def test_the_trend_of_a_history(podium_json, podium_text, history):
    for day in range(13, 17):
        result(history, day, 1.1 * PACE)
    code, (series,) = podium_json("history", history, "--trend")
    assert (code, series["system"], series["quantity"], len(series["results"])) == (0, "box", "seconds per sample", 16)
    assert [i for i, one in enumerate(series["results"]) if one["change"]] == [12]
    changed = series["results"][12]
    assert changed["change"] == pytest.approx(1.1, abs=0.01)
    assert 0 < changed["relativeInterval"] < 0.01
    assert [one["started"] for one in series["results"]] == sorted(one["started"] for one in series["results"])
    code, said = podium_text("history", history, "--trend")
    assert (code, "+10." in said or "+9." in said, "█" in said) == (0, True, True), said
    assert max(map(len, said.splitlines())) <= 80
    assert podium_text("history", history, "--trend", "--csv") == (2, "--trend has no CSV: use --json")
    assert podium_json("history", history, "--trend", "--system", "other") == (0, [])
