"""What somebody may put into a log to break the reader: each is a finding, soon, in little memory."""

from __future__ import annotations

import resource
import time
from pathlib import Path

import pytest

from tests.unit.cli.conftest import assert_harmless
from tests.unit.cli.logs import mll, v06_log

OWNED = Path("owned-by-a-log")


def after_start(*lines: str) -> bytes:
    """The good log with further lines behind its run_start."""
    good = v06_log()
    at = next(n for n, line in enumerate(good, 1) if " run_start:" in line)
    return "\n".join([*good[:at], *lines, *good[at:]]).encode()


def raw(value: str, key: str = "epoch_start", seconds: str = "1560000001.0") -> str:
    return f':::MLL {seconds} {key}: {{"value": {value}, "metadata": {{"epoch_num": 1}}}}'


GOOD = after_start()
HOSTILE = {
    "bytes that are not valid UTF-8": (GOOD.replace(b"ACME", b"AC\xff\xfeME"), "log.unreadable"),
    "an escape sequence and markup": (after_start(raw('"[/x]\\u001b]0;t\\u0007\\u202e"', "submission_division")),
                                      "mlperf.submission_division"),
    "a zero byte": (GOOD.replace(b"ACME", b"AC\x00ME"), "log.unreadable"),
    "a line of 100 MB": (after_start(raw('"<100 MB>')), "log.unreadable"),
    "objects in objects": (after_start(raw('{"a":' * 100_000)), "log.unreadable"),
    "lists in lists": (after_start(raw("[" * 100_000 + "]" * 100_000)), "log.unreadable"),
    "a number of a million digits": (after_start(raw("9" * 1_000_000)), "log.unreadable"),
    "a call in place of a value": (
        after_start(raw(f"__import__('pathlib').Path('{OWNED}').touch()")),
        "log.unreadable",
    ),
    "a negative time": (after_start(raw("null", seconds="-5.0")), "log.unreadable"),
    "a time beyond all calendars": (after_start(raw("null", seconds="9e300")), "log.unreadable"),
    "a time that goes back": (after_start(mll("epoch_start", None, -50_000, epoch_num=1)), "log.time.order"),
    "a quality that is no number": (after_start(raw("NaN", "eval_accuracy")), "mlperf.eval_accuracy.check"),
    "run_start twice": (after_start(mll("run_start")), "log.run_start.repeated"),
    "all lines from four ranks": (
        "\n".join(line for line in v06_log() for _ in range(4)).encode(),
        "log.run_start.repeated",
    ),
    "a Python dict out of order": (
        after_start(":::MLL 1560000001.0 epoch_start: {'value': None, 'metadata': {'epoch_num': 1}}"),
        "mlperf.epoch_start.check",
    ),
    "200,000 keys": (after_start(*(mll(f"key_{n}", n, 1) for n in range(200_000))), "log.long"),
    "a torn end": (GOOD[:-200], "log.run_stop.missing"),
    "nothing": (b"", "log.empty"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_each_hostile_log_is_a_finding(podium_json, podium_text, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    log, rule = HOSTILE[name]
    Path("result_0.txt").write_bytes(log.replace(b"<100 MB>", b"x" * 100_000_000))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    code, (found,) = podium_json("check", "result_0.txt")
    assert time.process_time() - start < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 500 << 10  # KiB
    for command in ("score", "review"):
        start = time.process_time()
        assert podium_json(command, ".")[0] in (0, 1)
        assert time.process_time() - start < 20
    for command in ("check", "score") if len(log) < 1 << 20 else ():
        said = podium_text(command, ".")
        assert said[0] == 1
        assert_harmless(said[1])
    assert code == 1
    assert rule in [finding["rule"] for finding in found["findings"]]
    assert all(len(finding["message"]) < 1000 for finding in found["findings"])
    assert not OWNED.exists()


def test_the_log_that_all_these_spoil_is_fine(podium_json, tmp_path):
    (tmp_path / "result_0.txt").write_bytes(GOOD)
    code, (found,) = podium_json("check", tmp_path / "result_0.txt")
    assert (code, found["findings"]) == (0, [])
