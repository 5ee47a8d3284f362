"""Power readings beside the logs: energy, and what is missing in them."""

from __future__ import annotations

import json

import pytest

from tests.unit.cli.logs import mllog
from tests.unit.cli.test_forged_results import Result, named


@pytest.fixture
def result(tmp_path):
    return Result(tmp_path)


def power(result, attempts, every=1.0, seconds=500, without=(0, 0), watts=1000.0, nodes=lambda attempt: 1):
    """Readings of each attempt, but for a part of it."""
    for n in attempts:
        folder = result.folder / f"power/result_{n}"
        folder.mkdir(parents=True)
        times = [every * i for i in range(int(seconds / every)) if not without[0] < every * i < without[1]]
        text = "\n".join(mllog("power_reading", watts, 2e8 + 3600 * n + t) for t in times) + "\n"
        for node in range(nodes(n)):
            (folder / f"node_{node}.txt").write_text(text)


def test_power(podium_json, podium_text, result):
    power(result, range(10))
    assert named(podium_json, result.place)["review"] == set()
    assert "0.462 MJ on average of 8 scored attempts" in podium_text("review", result.place)[1]


def test_energy_is_of_all_nodes(podium_json, result):
    power(result, range(10), nodes=lambda n: 2)
    code, document = podium_json("review", result.place)
    assert (code, document["scores"][0]["joules"]["3"]) == (0, pytest.approx(2 * 1000 * 462, abs=2000))


@pytest.mark.parametrize(
    ("measured", "words"),
    [
        ({"attempts": range(10), "every": 2.0}, "has a reading every 2.00 s; the rules want one every second"),
        ({"attempts": range(8)}, "no readings of 2 of 10 attempts: result_8.txt, result_9.txt"),
        ({"attempts": range(10), "seconds": 200}, "has readings for 199 of 462 s"),
        ({"attempts": range(10), "without": (-1, 10)}, "has readings for 452 of 462 s"),
        ({"attempts": range(10), "seconds": 0}, "has no readings during the attempt"),
        ({"attempts": range(10), "watts": 0.0}, "has no readings during the attempt"),
        ({"attempts": range(10), "without": (100, 110)}, "has no reading for 10 s; the rules want one every second"),
        ({"attempts": range(11)}, "has readings of an attempt that is not here"),
        ({"attempts": range(10), "nodes": lambda n: 3 - (n == 3)}, "has readings in 2 files; other attempts have 3"),
        ({"attempts": range(10), "every": 2.0, "nodes": lambda n: 3}, "every second; 2 other nodes are wrong, too"),
    ],
)
def test_wrong_power(podium_json, result, measured, words):
    power(result, **measured)
    for command in ("check", "review"):
        document = podium_json(command, result.place)[1]
        text = json.dumps(document)
        assert words in text, command
