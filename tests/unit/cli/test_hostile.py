"""Whatever lies in a results folder: the commands end with findings, never with a crash or a hang."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from podium.cli.main import app
from tests.unit.cli.conftest import AT_A_TERMINAL, assert_harmless
from tests.unit.cli.logs import v05_run, v06_log, v06_run, v07_run

GOOD = ["\n".join(lines).encode() for lines in (v05_run("ncf", 60, 0.64), v06_run("ssd", 60, 0.24), v06_log(),
                                                 v07_run("resnet", 60, 0.76))]  # fmt: skip
ODD = [b"NaN", b"-1", b"1e999", b'"', b"{", b"[" * 3000, b"null", b"\xff\xfe", b"\x00", b"\r", b":::ML", b"9" * 400, b"\\ud800",
       b"__import__('os').system('x')", b"true", b"'", b"\x1b[31m", "\u2028".encode(), b"[/nothing]", b"[red]", b"\x1b]0;title\x07", "\u202e".encode(),
       b"\\u001b[2J", b"\\u202e", b"\\u0000", b"\\r", "\x9b2J".encode(), "\u200b".encode(), "\ufeff".encode(),
       b'", "value": "[/nothing]\\u001b]0;title\\u0007"', b":smile:", b"\x7f", b"[link=http://x]"]  # fmt: skip
COMMANDS = ("score", "check", "variance", "review")


MODES = {"--json": (["--json"], None), "text": ([], None), "terminal": ([], AT_A_TERMINAL)}


def run(command: str, place: Path, mode: str = "--json") -> None:
    """The command as programs, people or people at a terminal call it."""
    options, environment = MODES[mode]
    done = CliRunner().invoke(app, [command, str(place), *options], env=environment)
    assert isinstance(done.exception, SystemExit | None), (command, done.exception)
    assert done.exit_code in (0, 1), (command, done.output)
    assert_harmless(done.output, styled=mode == "terminal")


@st.composite
def spoilt(draw):
    """A log with pieces replaced, cut out or put twice."""
    text = draw(st.sampled_from(GOOD))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(ODD) | st.just(text[:at][-50:])) + text[at + draw(st.integers(0, 30)) :]
    return text


@st.composite
def interleaved(draw):
    """The lines of several ranks in any order, some of them at other times, some as Python prints them."""
    lines = v06_log() * draw(st.integers(1, 6))
    for _ in range(draw(st.integers(0, 10))):
        at = draw(st.integers(0, len(lines) - 1))
        words = lines[at].split(" ", 2)
        words[1] = draw(
            st.sampled_from(["-1.5", "0", "0.0", "99999999999.9", "1559990000.0", "1e3", "nan"]) | st.just(words[1])
        )
        if draw(st.booleans()):
            words[2] = words[2].replace('"', "'").replace("null", "None").replace("true", "True")
        lines.append(" ".join(words))
    draw(st.randoms(use_true_random=False)).shuffle(lines)
    return "\n".join(lines).encode()


@settings(max_examples=20)
@given(interleaved(), st.sampled_from(list(MODES)))
def test_lines_of_many_ranks(log, mode):
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "v0.6/acme/results/box/ssd")
        place.mkdir(parents=True)
        (place / "result_0.txt").write_bytes(log)
        for command in COMMANDS:
            run(command, Path(folder), mode)
        done = CliRunner().invoke(app, ["check", str(place / "result_0.txt"), "--json"])
        (found,) = json.loads(done.output)
        assert found["findings"] or log == GOOD[2]


@settings(max_examples=40)
@given(st.lists(spoilt() | st.binary(max_size=200), min_size=1, max_size=3), st.sampled_from(ODD),
       st.sampled_from(list(MODES)))  # fmt: skip
def test_spoilt_logs(logs, other, mode):
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "v1.0/acme/results/box/resnet")
        place.mkdir(parents=True)
        for index, log in enumerate(logs):
            (place / f"result_{index}.txt").write_bytes(log)
        (place / "scaling.json").write_bytes(b'{"scaling_factor": ' + other + b"}")
        (place / "result.json").write_bytes(b'{"round": ' + other + b', "run": {}, "score": [], "attempts": [{}, 5]}')
        for command in COMMANDS:
            run(command, Path(folder), mode)
            run(command, place, mode)


@pytest.mark.parametrize("line", [b":::MLLOG {" + b"x" * 50_000_000, b"y" * 50_000_000, b":::MLL 5 " * 200_000])
def test_long_lines_take_no_longer_than_short_ones(tmp_path, line):
    (tmp_path / "result_0.txt").write_bytes(GOOD[2] + b"\n" + line + b"\n")
    start = time.process_time()
    for command in ("score", "check"):
        run(command, tmp_path)
    assert time.process_time() - start < 20
