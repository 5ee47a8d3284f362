"""Documents of the right form with values of the wrong one: a finding or nothing, and every other result is shown."""

from __future__ import annotations

import json
import os

import pytest

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
