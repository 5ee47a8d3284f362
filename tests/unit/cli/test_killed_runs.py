"""A run on this machine that is killed with its process: the tries that it has started are still known."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest
import yaml
from typer.testing import CliRunner

from podium.cli.main import app
from podium.results import ledger
from podium.submissions import result_paths, unfinished, verify
from tests.unit.cli.test_run import TRAINER, document, own
from tests.unit.cli.test_verify import Files, entries_of, said
from tests.unit.cli.test_verify import result as result  # noqa: PLC0414 - a fixture
from tests.unit.results.ledgers import unbroken

GOOD = TRAINER.replace("QUALITY", "0.7")


def podium(*arguments):
    """Run a command in this process. Returns its exit code, and its output without line breaks."""
    done = CliRunner().invoke(app, list(map(str, arguments)))
    return done.exit_code, " ".join(done.output.split())


def run_local(file, out):
    command = [sys.executable, "-m", "podium", "run", "--local", str(file), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


class LocalRun:
    """``podium run --local`` in the background, of a program that trains once and then hangs."""

    def __init__(self, folder, out, good_attempts):
        self.out, self._pids = out, folder / f"{out.name}-pids"
        self._pids.mkdir()
        hang = (
            "import os, pathlib, time\n"
            f"pids = pathlib.Path({str(self._pids)!r})\n"
            "number = len(list(pids.iterdir()))\n"
            "(pids / str(os.getpid())).touch()\n"
            f"if number >= {good_attempts}:\n    time.sleep(100)\n"
        )
        self.file = folder / f"{out.name}.yaml"
        system = {"name": "laptop", "nodes": 1}
        self.file.write_text(yaml.safe_dump(document(template=own(hang + GOOD), system=system)))
        command = [sys.executable, "-m", "podium", "run", "--local", self.file, "--out", out]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def tries(self):
        """The tries in the ledger so far."""
        text = b"".join(part.read_bytes() for part in sorted(self.out.glob("ledger-*.jsonl")))
        return [(e["attempt"], e["try"]) for e in unbroken(text) if e["kind"] == "try"]

    def until_it_has(self, *tries):
        deadline = time.monotonic() + 60
        while self.tries() != list(tries):
            assert self._process.poll() is None
            assert time.monotonic() < deadline, self.tries()
            time.sleep(0.05)

    def kill(self):
        self._process.kill()
        self._process.wait()
        for pid in self._pids.iterdir():
            with suppress(ProcessLookupError):
                os.kill(int(pid.name), signal.SIGKILL)

    def stop(self):
        self._process.send_signal(signal.SIGINT)
        self._process.wait(60)


@pytest.fixture
def local_run(tmp_path):
    """Starts runs, and kills those that a test leaves behind."""
    runs = []

    def start(out, good_attempts=0):
        runs.append(LocalRun(tmp_path, out, good_attempts))
        return runs[-1]

    yield start
    for run in runs:
        run.kill()


@pytest.mark.parametrize("good_attempts", [0, 1])
def test_a_try_that_is_killed_with_its_process_is_in_the_ledger(local_run, tmp_path, good_attempts):
    out, killed = tmp_path / "all/r", (good_attempts + 1, 0)
    run = local_run(out, good_attempts)
    run.until_it_has(*[(n + 1, 0) for n in range(good_attempts)], killed)
    run.kill()
    system = {"name": "laptop", "nodes": 1}
    run.file.write_text(yaml.safe_dump(document(template=own(GOOD), system=system)))
    code, output = run_local(run.file, out)
    assert code == 0, output
    (aside,) = out.parent.glob("r.interrupted-*Z")
    assert f"moved the interrupted result to {aside}" in output
    sentence = f"attempt {killed[0]}, try 0, was started at 20"
    left = "and has no end: it is in progress, or its process was killed"
    for place in (aside, out.parent):
        for verb in ("verify", "review"):
            code, output = podium(verb, place)
            assert (code, output.count(sentence), output.count(left)) == (1, 1, 1), output
    code, output = podium("verify", out)
    assert (code, "with 3 tries" in output) == (0, True), output


def test_a_run_keeps_others_out_of_its_folder(local_run, tmp_path):
    """Its ledger makes the folder look like that of a run that was killed."""
    run = local_run(tmp_path / "r")
    run.until_it_has((1, 0))
    code, output = run_local(run.file, run.out)
    assert (code, f"another run is at work in {run.out}: choose another folder with --out" in output) == (2, True)
    run.stop()
    assert json.loads((run.out / "result.json").read_text())["outcome"] == "Aborted"
    assert not list(tmp_path.glob("r.interrupted-*"))
    code, output = podium("verify", run.out)
    assert (code, "with 1 try," in output) == (0, True), output


def test_two_runs_beside_each_other_have_a_ledger_each(local_run, tmp_path):
    runs = [local_run(tmp_path / name) for name in ("one", "other")]
    for run in runs:
        run.until_it_has((1, 0))
    for run in runs:
        run.stop()
        entries = unbroken((run.out / "ledger.jsonl").read_bytes())
        assert [entry["kind"] for entry in entries] == ["admitted", "try", "end", "result"]
    one, other = (unbroken((run.out / "ledger.jsonl").read_bytes())[0]["run"]["uid"] for run in runs)
    assert one != other


# ---- what is said of a ledger without an end ----


def part_of(uid, *entries, number=1):
    text, _ = ledger.append(ledger.Head(), [{"run": {"uid": uid}, **entry} for entry in entries], 1767225600.0)
    return {f"ledger-{uid[:8]}-{number:06}.jsonl": text}


OPEN = part_of("99aabbcc-1", {"kind": "admitted"}, {"kind": "try", "attempt": 1, "try": 0})
DONE = part_of(
    "99aabbcc-1",
    {"kind": "admitted"}, {"kind": "try", "attempt": 1, "try": 0}, {"kind": "end", "attempt": 1, "try": 0},
)  # fmt: skip
NAME = "ledger-99aabbcc-000001.jsonl"
NO_SUMS = ("verify.files", "SHA256SUMS")
OPEN_TRY = "attempt 1, try 0, was started at 2026-01-01T00:00:00.000Z and has no end: it is in progress"


@pytest.mark.parametrize(
    ("files", "expected", "message"),
    [
        (OPEN, [NO_SUMS, ("verify.tries", NAME)], OPEN_TRY),
        (DONE, [NO_SUMS, ("verify.ledger", NAME)], "is of a run that has not ended: it is in progress, or its process"),
        ({NAME: DONE[NAME].replace(b"end", b"END")}, [NO_SUMS, ("verify.tries", NAME)], OPEN_TRY),
        (
            {NAME: b"".join(DONE[NAME].splitlines(keepends=True)[::2])},
            [NO_SUMS, ("verify.ledger", NAME), ("verify.ledger", NAME)], "there is a gap: it is line 2, and says that it is",
        ),
        ({NAME: b"?"}, [NO_SUMS, ("verify.ledger", NAME), ("verify.ledger", NAME)], "there is a gap"),
        ({f"ledger/{NAME[7:]}": OPEN[NAME]}, [NO_SUMS, ("verify.tries", f"ledger/{NAME[7:]}")], OPEN_TRY),
    ],
    ids=["a try has no end", "between two tries", "a line changed", "a line taken out", "no ledger at all", "an old part"],
)  # fmt: skip
def test_the_ledger_of_a_run_that_has_not_ended(files, expected, message):
    store = Files(files)
    assert result_paths(store) == [""]
    assert said(files, None) == expected
    found = [finding for finding in verify(store, "", None).findings if finding.rule != "verify.files"]
    assert any(message in finding.message for finding in found), found
    assert list(unfinished(store)) == found


def test_a_run_that_was_begun_in_the_folder_of_a_result_is_named(result):
    files = {**result, **OPEN}
    assert said(files) == [("verify.tries", NAME)]
    assert list(unfinished(Files(files))) == []  # `review` names it with the result


def test_a_part_that_a_late_process_left_beside_its_own_ledger_says_nothing_new(result):
    uid = entries_of(result)[0]["run"]["uid"]
    assert said({**result, **part_of(uid, {"kind": "try", "attempt": 1, "try": 0}, number=7)}) == []
