"""Documents of the right form with values of the wrong one: a finding or nothing, and every other result is shown."""

from __future__ import annotations

import json
import logging
import os
import sys

import pytest

from podium.cli import logging_setup
from tests.unit.cli.conftest import assert_harmless
from tests.unit.cli.logs import v06_log, write

GOOD = {"round": "v0.6", "benchmark": "transformer", "run": {"name": "a"}, "score": {"timeToTrainMinutes": "1.5"}}
ODD = {
    "attempts that are a number": {"attempts": 5},
    "attempts that are true": {"attempts": True},
    "an index that is a list": {"benchmark": "x", "attempts": [{"index": []}, {"index": {}}]},
    "minutes that are no number": {"score": {"timeToTrainMinutes": "nan"}},
    "minutes without end": {"score": {"timeToTrainMinutes": "-inf"}},
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_a_result_with_an_odd_value(podium_json, podium_text, tmp_path, odd):
    for name, document in (("good", GOOD), ("odd", GOOD | odd)):
        place = write(tmp_path / name, [v06_log()])
        (place / "result.json").write_text(json.dumps(document))
    for command in ("score", "check", "review", "variance"):
        assert podium_json(command, tmp_path)[0] in (0, 1)
    code, found = podium_json("history", tmp_path)
    assert (code, len(found["results"]), found["findings"]) == (0, 2, [])
    for options in ((), ("--csv",)):
        assert podium_text("history", tmp_path, *options)[0] == 0


def test_a_result_that_is_a_pipe_or_a_link_does_not_hide_the_others(podium_json, tmp_path):
    for name in ("good", "pipe", "link"):
        (tmp_path / name).mkdir()
    (tmp_path / "good/result.json").write_text(json.dumps(GOOD))
    os.mkfifo(tmp_path / "pipe/result.json")
    (tmp_path / "link/result.json").symlink_to(tmp_path / "good/result.json")
    code, found = podium_json("history", tmp_path)
    assert (code, [row["name"] for row in found["results"]]) == (1, ["a"])
    assert {f["where"] for f in found["findings"]} == {"pipe/result.json", "link/result.json"}
    assert {f["rule"] for f in found["findings"]} == {"history.unreadable"}


@pytest.mark.parametrize("round_", ["v2x", "\x9b2J", "v1", "v1.0.0", "v\u0661.0", "v1." + "9" * 5000, "v-1.0"])
def test_a_round_that_is_none(podium_json, tmp_path, round_):
    place = write(tmp_path / "transformer", [v06_log()])
    (place / "result.json").write_text(json.dumps(GOOD | {"round": round_}))
    for command in ("score", "check", "review", "variance", "history"):
        assert podium_json(command, tmp_path)[0] in (0, 1), command


@pytest.mark.parametrize("plant", ["link", "pipe"])
def test_a_document_that_is_a_pipe_or_a_link_is_a_finding(podium_json, tmp_path, plant):
    place = write(tmp_path / "transformer", [v06_log()])
    if plant == "link":
        (place / "scaling.json").symlink_to("/dev/zero")
    else:
        os.mkfifo(place / "scaling.json")
    code, (entry,) = podium_json("score", tmp_path)
    wrong = [f for f in entry["findings"] if f["rule"] == "score.document"]
    assert (code, [f["where"] for f in wrong]) == (1, ["transformer/scaling.json"])


def test_a_file_that_is_listed_a_thousand_times_is_read_once(podium_json, tmp_path, monkeypatch):
    place = write(tmp_path / "transformer", [v06_log()])
    (place / "result.json").write_text(json.dumps(GOOD))
    (place / "SHA256SUMS").write_text("".join(f"{n:064x}  result_0.txt\n" for n in range(1000)))
    read = []
    monkeypatch.setattr(sys.modules["podium.submissions.review"], "digest", lambda _, key: read.append(key) or "")
    podium_json("review", tmp_path)
    assert read.count("transformer/result_0.txt") == 2  # the other time to look for copies of one log


@pytest.mark.parametrize("style", ["json", "text"])
def test_the_operator_s_log_is_harmless(capsys, style):
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        logging_setup.configure_logging("info", style)
        logging.getLogger("podium").warning("of a pod: %s", "\x1b]0;t\x07 \x9b2J \u202e")
    finally:
        root.handlers[:], root.level = before
    assert_harmless(said := capsys.readouterr().err)
    assert "of a pod: " in said
