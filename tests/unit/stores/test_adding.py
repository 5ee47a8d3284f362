"""A new kind of store is one module and one line."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest

from podium.api import Score
from podium.reconcile import StoreResult
from podium.results import ResultWriter
from podium.stores import SCHEMES, Scheme, StoreRefused, open_store, url_examples
from tests.unit.cli.conftest import podium_json, podium_text  # noqa: F401 - fixtures
from tests.unit.cli.logs import v06_run
from tests.unit.reconcile import examples as ex
from tests.unit.stores import made_up

BEFORE = url_examples()


@pytest.fixture(autouse=True)
def added(monkeypatch):
    monkeypatch.setitem(SCHEMES, "mem", Scheme("tests.unit.stores.made_up", "mem://name"))
    monkeypatch.setattr(made_up, "OBJECTS", {})


@pytest.fixture
def results():
    store = open_store("mem://lab/v0.6/acme/results/box/resnet")
    for number, seconds in enumerate((300, 180, 240, 60, 120)):
        log = "\n".join(v06_run("resnet", seconds, 0.76)) + "\n"
        store.put(f"result_{number}.txt", log.encode())
    return "mem://lab"


def test_commands_read_it(results, podium_json, podium_text):  # noqa: F811
    _, document = podium_json("score", results)
    assert [(entry["org"], entry["minutes"]) for entry in document] == [("acme", 3.0)]
    for command in ("check", "variance", "review", "history"):
        assert podium_json(command, results)[0] in (0, 1), command
    assert podium_text("score", results + "/nowhere")[1].startswith("mem://lab/nowhere: no result_<number>.txt found")


def test_a_single_log_is_read_from_it(results, podium_json):  # noqa: F811
    _, checked = podium_json("check", f"{results}/v0.6/acme/results/box/resnet/result_0.txt")
    assert [(log["log"], log["benchmark"]) for log in checked] == [("result_0.txt", "resnet")]


def test_a_result_is_written_to_it():
    store = open_store("mem://lab/runs").child("team/run-1")
    writer = ResultWriter(store, ex.run())
    score = Score(time_to_train_minutes="0.6833", valid=True, official=False)
    result = writer.put_result(StoreResult(score, (), "Complete", ""), target={"top1": 0.9}, nodes=[]).result
    assert result.uri == "mem://lab/runs/team/run-1"
    assert store.list() == ["SHA256SUMS", "ledger.jsonl", "result.json", "run.yaml", "system.json"]
    assert result.sha256 == hashlib.sha256(store.get("SHA256SUMS")).hexdigest()


@pytest.mark.parametrize("url", ["mem:///no-name", "moon://bucket", "memory://x"])
def test_what_is_refused_names_it(url):
    with pytest.raises(StoreRefused) as refused:
        open_store(url)
    wanted = f"{BEFORE} or mem://name"
    assert str(refused.value) == f"{url!r} is not a supported results URL; use {wanted}"
    assert url_examples() == wanted


def test_help_names_it():
    program = (
        "from podium.stores import SCHEMES, Scheme; SCHEMES['mem'] = Scheme('none', 'mem://name');"
        "from podium.cli.main import main; main()"
    )
    for command, words in (
        ("score", "mem://"),
        ("history", "mem://"),
        ("compare", "mem://"),
        ("operator", "mem://name"),
    ):
        shown = subprocess.run(
            [sys.executable, "-c", program, command, "--help"], capture_output=True, text=True, check=True
        )
        assert words in shown.stdout, command
