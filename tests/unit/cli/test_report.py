"""``podium report``: what is on the page, and what stays off it."""

from __future__ import annotations

import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from podium.cli.main import app
from tests.unit.cli.logs import mll, mllog, v05_run, v06_run, v07_run, write
from tests.unit.cli.test_hostile import spoilt
from tests.unit.scoring.test_published import EXPECTED, LOGS

TIMES = (300, 180, 240, 60, 120)


class Words(HTMLParser):
    """The text of a page, and the elements and attributes it has."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self._style = False

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self._style = tag == "style"

    def handle_endtag(self, tag):
        self._style = False

    def handle_data(self, data):
        if data.strip() and not self._style:
            self.words.append(" ".join(data.split()))


def read(file: Path) -> Words:
    page = Words()
    page.feed(file.read_text())
    return page


@pytest.fixture
def page(tmp_path):
    """Makes a report; gives exit code, page and what was printed."""

    def make(place, *options):
        out = tmp_path / "page.html"
        done = CliRunner().invoke(app, ["report", str(place), "--out", str(out), *options], env={"COLUMNS": "200"})
        assert isinstance(done.exception, SystemExit | None), done.exception
        return done.exit_code, read(out), done.stdout

    return make


def timed_run(seconds, quality=0.76, status="success"):
    """Initialization 20 s before the clock, evaluation a tenth of the time, energy 1 kJ a second."""
    return [
        mll("submission_benchmark", "resnet", -30),
        mll("init_start", None, -20),
        mll("global_batch_size", 256, -10),
        mll("opt_base_learning_rate", 0.1 * seconds, -10),
        mll("run_start"),
        mll("eval_start", None, seconds * 0.9 - 1),
        mll("eval_accuracy", quality, seconds - 1, epoch_num=seconds / 75),
        mll("eval_stop", None, seconds - 1),
        mll("tracked_stats", {"energy_joules": seconds * 1000.0}, seconds - 1),
        mll("run_stop", None, seconds, status=status),
    ]


def test_the_page_tells_all(page, tmp_path):
    write(tmp_path / "v0.6/acme/box/resnet", map(timed_run, TIMES))
    code, found, printed = page(tmp_path / "v0.6/acme/box/resnet")
    text = "\n".join(found.words)
    assert (code, printed.splitlines()) == (0, [str(tmp_path / "page.html")])
    assert "v0.6 / acme / box" in text
    assert re.search(r"Image classification\nresnet\n", text)
    for words in ("3.000", "official", "dropped: slowest", "dropped: fastest", "3 of 5", "target 0.759",
                  "global_batch_size", "differs between attempts", "minutes on the clock", "50.00 Wh",
                  "2.700 min, 90.0 %"):  # fmt: skip
        assert words in text, words
    assert text.count("dropped:") == 2
    assert {"svg", "table", "style"} <= found.tags
    assert not {"script", "img", "link", "iframe", "object"} & found.tags


def test_as_json(podium_json, tmp_path):
    write(tmp_path / "v0.6/acme/box/resnet", map(timed_run, TIMES))
    code, (found,) = podium_json("report", tmp_path)
    assert code == 0
    assert [(a["index"], a["mark"]) for a in found["attempts"]] == [
        (0, "dropped: slowest"), (1, ""), (2, ""), (3, "dropped: fastest"), (4, "")]  # fmt: skip
    first = found["attempts"][0]
    assert (first["seconds"], first["initSeconds"], first["energyJoules"], first["epochs"]) == (300, 20, 3e5, 4)
    assert first["evalSeconds"] == pytest.approx(30)
    assert first["curve"] == [{"seconds": 299, "epoch": 4, "quality": {"top1": 0.76}}]
    log = tmp_path / "v0.6/acme/box/resnet/result_0.txt"
    assert first["sha256"] == hashlib.sha256(log.read_bytes()).hexdigest()
    assert found["energyJoules"] == 180_000
    assert (found["hyperparameters"]["global_batch_size"], found["minutes"]) == ("256", 3)
    assert list(tmp_path.glob("*.html")) == []


def test_runs_that_did_not_converge_are_on_the_page(page, tmp_path):
    runs = [v06_run("ssd", t, 0.24) for t in TIMES[:4]] + [v06_run("ssd", 50, 0.1, "aborted")]
    write(tmp_path / "v0.6/acme/box/ssd", runs)
    code, found, _ = page(tmp_path)
    assert code == 0
    assert "dropped as the slowest" in found.words
    assert "Not converged: quality 0.1, target 0.23; run_stop says 'aborted'" in found.words
    write(tmp_path / "v0.6/acme/box/ssd", [v06_run("ssd", 50, 0.1, "aborted")] * 5)
    code, found, printed = page(tmp_path)
    assert (code, "No score" in found.words) == (1, True)
    assert "score.invalid" in printed
    assert any("5 attempts did not converge" in words for words in found.words)


def test_a_log_without_evaluations_or_clock(page, tmp_path):
    write(tmp_path / "v0.6/acme/box/resnet", [[mll("submission_benchmark", "resnet")]] * 2)
    code, found, _ = page(tmp_path)
    assert (code, "No score" in found.words) == (1, True)
    assert "No attempt reached the target." in found.words


def test_several_results_have_a_table_of_contents(page, tmp_path):
    write(tmp_path / "v0.6/acme/box/resnet", map(timed_run, TIMES))
    write(tmp_path / "v0.7/acme/box/ssd", [v07_run("ssd", t, 0.24) for t in TIMES])
    _, found, _ = page(tmp_path)
    assert found.words.count("2 results") == 1
    assert found.words.count("Quality over time") == 2


# ---- a stored result ----


@pytest.fixture
def stored(tmp_path):
    """A result of Podium's, with a try that was lost; SHA256SUMS lists its files."""
    folder = tmp_path / "team/digits-12345678"
    attempts = [{"index": 1, "try": 0, "state": "Failed", "reason": "PodLost", "message": "pod digits-1-0-0 is gone"}]
    for index, seconds in enumerate(TIMES, start=1):
        lines = v07_run("resnet", seconds, 0.98)
        (folder / f"attempts/{index:03}").mkdir(parents=True)
        (folder / f"attempts/{index:03}/result.txt").write_text("\n".join(lines) + "\n")
        attempts.append({"index": index, "try": index == 1, "state": "Converged"})
        attempts[-1]["try"] = int(attempts[-1]["try"])
    result = {
        "podium": "0.1.0", "run": {"namespace": "team", "name": "digits", "uid": "12345678-9"}, "round": "v0.6",
        "benchmark": "resnet", "division": "open", "preset": "tiny", "target": {"top1": 0.97}, "outcome": "Complete",
        "system": {"name": "rack", "nodes": 2, "acceleratorsPerNode": 4}, "attempts": attempts,
        "score": {"timeToTrainMinutes": "3.0000", "valid": True, "cost": "12.30 USD"},
    }  # fmt: skip
    (folder / "result.json").write_text(json.dumps(result))
    seen = [{"name": "node-7", "info": {"kernelVersion": "6.1"}}]
    (folder / "system.json").write_text(json.dumps({**result["system"], "nodesSeen": seen}))
    seal(folder)
    return folder


def seal(folder):
    keys = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    sums = (f"{hashlib.sha256(key.read_bytes()).hexdigest()}  {key.relative_to(folder)}\n" for key in keys)
    (folder / "SHA256SUMS").write_text("".join(sums))


def test_a_stored_result(page, stored):
    code, found, _ = page(stored)
    text = "\n".join(found.words)
    for words in ("team/digits", "12.30 USD", "open division, tiny preset; target top1 0.97", "node-7", "6.1", "8",
                  "7 of 7 documents and logs match SHA256SUMS", "try 0, repeated",
                  "Failed: pod digits-1-0-0 is gone"):  # fmt: skip
        assert words in text, words
    assert code == 0


def test_a_result_that_was_changed_is_found_out(page, stored):
    log = stored / "attempts/002/result.txt"
    log.write_text(log.read_text().replace('"success"', '"success" '))
    code, _, printed = page(stored)
    assert code == 1
    assert "report.sums  attempts/002/result.txt: is not the file that SHA256SUMS lists" in printed
    (stored / "SHA256SUMS").write_text(f"{'0' * 64}  ../../../etc/passwd.json\n")
    assert "etc/passwd.json: is not the file" in page(stored)[2]
    (stored / "SHA256SUMS").unlink()
    assert "report.sums  SHA256SUMS: is missing" in page(stored)[2]


def test_a_score_that_the_logs_do_not_give_is_found_out(page, stored):
    result = json.loads((stored / "result.json").read_text())
    result["score"]["timeToTrainMinutes"] = "2.5000"
    (stored / "result.json").write_text(json.dumps(result))
    seal(stored)
    code, found, printed = page(stored)
    assert (code, "3.000" in found.words) == (1, True)
    assert "report.score  result.json: it says 2.5000 minutes, but the logs give 3.0000" in printed


# ---- what other people's logs hold ----

HOSTILE = "</style></title></svg><script>alert(1)</script><img src=x onerror=alert(1)>\"'&{{ 7*7 }}\u202e\ud800\x00"


def hostile_run(seconds):
    return [
        mllog("submission_benchmark", HOSTILE),
        mllog("submission_org", HOSTILE),
        mllog("submission_platform", HOSTILE),
        mllog("submission_entry", json.dumps({HOSTILE: {HOSTILE: HOSTILE}})),
        mllog(f"opt_{HOSTILE}", HOSTILE),
        mllog("opt_name", [HOSTILE, seconds]),
        mllog("run_start"),
        mllog("eval_accuracy", {HOSTILE: 0.5, "x": 0.25}, seconds - 1, epoch_num=1),
        mllog("run_stop", None, seconds, status=HOSTILE),
    ]


def test_nothing_of_a_log_is_taken_for_markup(page, tmp_path, stored):
    write(tmp_path / "logs", map(hostile_run, TIMES))
    hostile = HOSTILE.replace("\ud800", "")  # a document with half a character is not read at all
    result = json.loads((stored / "result.json").read_text())
    for key in ("benchmark", "round", "division", "preset", "outcome", "message", "podium"):
        result[key] = hostile
    result["run"] = dict.fromkeys(("name", "namespace", "uid"), hostile)
    result["system"]["name"] = result["score"]["cost"] = hostile
    result["attempts"][0] |= {"state": hostile, "message": hostile}
    result["target"] = {hostile: 0.1}
    (stored / "result.json").write_text(json.dumps(result))
    (stored / "system.json").write_text(json.dumps({hostile: hostile, "nodesSeen": [{hostile: [hostile]}]}))
    for place in (tmp_path / "logs", stored):
        _, found, _ = page(place)
        assert not {"script", "img"} & found.tags
        assert not {name for name in found.attributes if name.startswith("on") or name == "src"}
        assert any("<script>alert(1)</script>" in words for words in found.words)
        assert not any("49" in words and "alert" in words for words in found.words)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(spoilt() | st.binary(max_size=200), min_size=1, max_size=3))
def test_any_log_gives_a_page(page, tmp_path_factory, logs):
    folder = tmp_path_factory.mktemp("logs")
    for index, log in enumerate(logs):
        (folder / f"result_{index}.txt").write_bytes(log)
    code, found, _ = page(folder)
    assert code in (0, 1)
    assert found.words.count("Attempts") == 1


def test_a_hundred_long_runs_make_a_small_page(page, tmp_path):
    """1,000 evaluations each: a curve is thinned out to what can be seen of it."""

    def run(seconds):
        evaluations = [mll("eval_accuracy", 0.7 * n / 1000, n * seconds / 1001, epoch_num=n) for n in range(1, 1000)]
        return [mll("submission_benchmark", "resnet"), mll("run_start"), *evaluations,
                mll("eval_accuracy", 0.76, seconds, epoch_num=1000), mll("run_stop", None, seconds, status="success")]  # fmt: skip

    write(tmp_path / "v0.6/acme/box/resnet", (run(1000 + n) for n in range(100)))
    page(tmp_path)
    assert (tmp_path / "page.html").stat().st_size < 200_000


# ---- use ----


def test_wrong_use(podium_json, tmp_path):
    code, said = podium_json("report", tmp_path)
    assert (code, said.split("; ")[0]) == (2, f"{tmp_path}: no result_<number>.txt found")
    assert podium_json("report", tmp_path / "none")[0] == 2
    write(tmp_path / "v0.5/acme/box/resnet", [v05_run("resnet", t, 0.75) for t in TIMES])
    code, said = podium_json("report", tmp_path, "--out", tmp_path / "no/such/page.html")
    remedy = "name a file in an existing folder with --out"
    assert (code, said) == (2, f"--out {tmp_path}/no/such/page.html: No such file or directory; {remedy}")


@pytest.mark.skipif(not EXPECTED.exists(), reason="the published logs are not here")
def test_published_logs(page):
    code, found, _ = page(LOGS / "v0.6/NVIDIA/dgx1_n24_ngc19.05_pytorch/maskrcnn")
    assert code == 0
    for words in ("22.03", "BBOX", "SEGM", "24xDGX-1 with V100", "Tesla V100-SXM2-16GB", "official"):
        assert words in found.words, words
