"""The report in a browser: what a person sees on a screen, on a phone and on paper. Needs no cluster."""

from __future__ import annotations

import subprocess
import sys

import pytest
import yaml
from typer.testing import CliRunner

from podium.cli.main import app
from tests.cluster.fixtures import needed_parts
from tests.e2e.browser import Browser
from tests.unit.cli.logs import mll, v06_run, write
from tests.unit.cli.test_run import TRAINER, document, own

HEADINGS = [
    "Quality over time", "Epochs to the target", "Time to the target", "Attempts", "System", "Hyperparameters",
    "Provenance",
]  # fmt: skip
WIDTHS = (1280, 400)
# reaches 0.7 in three epochs of a tenth of a second, and says what they took
PROGRAM = TRAINER.replace(
    'log("eval_accuracy", QUALITY, epoch_num=1)',
    """
log("global_batch_size", 64)
for epoch in (1, 2, 3):
    time.sleep(0.1)
    log("eval_accuracy", 0.2 + epoch / 6, epoch_num=epoch)
log("tracked_stats", {"energy_joules": 7200.0})
""",
)


@pytest.fixture
def browser(tmp_path):
    with needed_parts():
        return Browser(tmp_path)


def report(place, out):
    done = CliRunner().invoke(app, ["report", str(place), "--out", str(out)])
    assert done.exit_code in (0, 1), done.output
    return out


@pytest.fixture
def own_result(tmp_path):
    """The report of a run on this machine, with energy and cost."""
    run = tmp_path / "run.yaml"
    pricing = {"perNodeHour": "36000"}
    run.write_text(yaml.safe_dump(document(template=own(PROGRAM), attempts=5, pricing=pricing)))
    command = [sys.executable, "-m", "podium", "run", "--local", str(run), "--out", str(tmp_path / "result")]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return report(tmp_path / "result", tmp_path / "report.html")


def test_the_report_of_a_run_is_whole_on_screen_phone_and_paper(browser, own_result):
    for width in WIDTHS:
        seen = browser.see(own_result, width)
        assert (seen.console, seen.width) == ([], width)
        assert seen.needed <= width, "nothing is wider than the page"
        assert set(HEADINGS) <= set(seen.headings)
        assert len(seen.charts) >= 4
        assert all(wide > 200 and high > 40 for wide, high in seen.charts)
        for words in ("dropped: fastest", "dropped: slowest", "energy", "2.000 Wh", "USD", "target 0.6"):
            assert words in seen.text, words
    assert 1 <= browser.pages(own_result) <= 4


def test_the_report_of_a_round_has_a_page_for_each_result(browser, tmp_path):
    """Names and values that are long and cannot be broken fit, too."""
    for system in ("box", "x" * 120):
        logs = [
            [*v06_run("resnet", seconds, 0.76), mll("opt_name", "y" * 300, -3)] for seconds in (60, 120, 180, 240, 300)
        ]
        write(tmp_path / "round" / "acme" / "results" / system / "resnet", logs)
    page = report(tmp_path / "round", tmp_path / "report.html")
    for width in WIDTHS:
        seen = browser.see(page, width)
        assert (seen.console, seen.width) == ([], width)
        assert seen.needed <= width
        assert seen.headings[0] == "2 results"
        assert seen.headings.count("Quality over time") == 2
    assert browser.pages(page) >= 3


def test_a_fault_of_a_page_is_seen(browser, tmp_path):
    """The tests above can fail: the browser reports a script error and an element that is too wide."""
    page = tmp_path / "wrong.html"
    page.write_text('<!doctype html><div style="width: 2000px">wide</div><script>nowhere()</script>')
    seen = browser.see(page, 400)
    assert seen.needed == 2000 + 8
    assert "nowhere is not defined" in seen.console[0]


def test_a_comparison_is_a_picture(browser, tmp_path):
    for side, factor in (("before", 2), ("after", 1)):
        runs = [
            [
                mll("submission_entry", str({"nodes": "[{'num_accelerators': 8}]"}), -6),
                *v06_run("resnet", factor * s, 0.76),
            ]
            for s in (60, 61, 62, 63, 64)
        ]
        write(tmp_path / side / "acme" / "results" / "box" / "resnet", runs)
    picture, drawn = tmp_path / "compared.svg", tmp_path / "compared.png"
    places = [str(tmp_path / side) for side in ("before", "after")]
    done = CliRunner().invoke(app, ["compare", *places, "--chips", "box=8", "--out", str(picture)])
    assert done.exit_code == 0, done.output
    seen = browser.see(picture, 1280)
    assert seen.console == []
    ((wide, high),) = seen.charts
    assert wide > 900
    assert high > 100
    for words in ("after against before", "2.00x", "8 to 8 chips"):
        assert words in seen.text
    browser.picture(picture, drawn, 1000, 400)
    assert drawn.stat().st_size > 5_000
