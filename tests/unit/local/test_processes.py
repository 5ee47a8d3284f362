"""The processes of a local try, and what they get."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import time
from pathlib import Path

import pytest

from podium.api import TryId
from podium.launch import launch_for
from podium.local import processes
from podium.local.processes import LaunchError, LocalJob
from podium.rounds import load_rounds
from tests.unit.reconcile import examples as ex

SAY = "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ)]), flush=True)\n"
ONE = {"name": "laptop", "nodes": 2}


def try_of(**spec):
    run = ex.run(**{"benchmark": "ncf", "division": "open", "preset": "tiny", "system": ONE, **spec})
    return launch_for(run, TryId(attempt=1, number=0), 7, load_rounds())


async def outputs(launch, folder):
    """What each node prints, as JSON."""
    job = LocalJob(launch, folder, "", lambda *_: None)
    await job.start()
    while not job.observed().finished:
        await asyncio.sleep(0.05)
    return [json.loads(file.read_text()) for file in job.log_files()]


@pytest.fixture
def trainer_that_reports(tmp_path, monkeypatch):
    """In place of podium_benchmarks.ncf."""
    package = tmp_path / "path/podium_benchmarks"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "ncf.py").write_text(SAY)
    monkeypatch.setenv("PYTHONPATH", str(package.parent))


async def test_a_trainer_with_one_process_per_node_is_a_rank(tmp_path, trainer_that_reports):
    """torchrun would import torch only to start it; its variables are those that torchrun sets."""
    launch = try_of()
    (words, first), (_, second) = await outputs(launch, tmp_path)
    assert words[:4] == ["--preset", "tiny", "--target", launch.target]
    ranks = [
        [int(seen[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")]
        for seen in (first, second)
    ]
    assert ranks == [[0, 2, 0, 1], [1, 2, 0, 1]]
    assert first["MASTER_ADDR"] == second["MASTER_ADDR"] == "127.0.0.1"
    assert first["MASTER_PORT"] == second["MASTER_PORT"] == first["PET_MASTER_PORT"]
    assert (first["PODIUM_SEED"], first["PODIUM_ROUND"]) == ("7", "v0.6")


async def test_several_processes_per_node_are_started_by_torchrun(tmp_path, monkeypatch):
    torchrun = tmp_path / "bin/torchrun"
    torchrun.parent.mkdir()
    torchrun.write_text(f"#!/usr/bin/env python3\n{SAY}")
    torchrun.chmod(0o755)
    monkeypatch.setattr("podium.local.processes.sys.executable", str(torchrun.parent / "python"))
    ((words, environment),) = await outputs(
        try_of(system={"name": "a", "nodes": 1, "acceleratorsPerNode": 2}), tmp_path
    )
    assert words[:2] == ["-m", "podium_benchmarks.ncf"]
    assert (environment["PET_NPROC_PER_NODE"], "RANK" in environment) == ("2", False)


async def test_a_command_of_the_run_gets_no_ranks(tmp_path):
    command = ["python3", "-c", SAY]
    (_, environment), _ = await outputs(try_of(template={"command": command}), tmp_path)
    assert "RANK" not in environment


async def test_without_the_trainers_the_way_to_install_them_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("podium.local.processes.importlib.util.find_spec", lambda *_: None)
    with pytest.raises(LaunchError, match=r"install podium-benchmarks into this environment \(make install\)"):
        await LocalJob(try_of(), tmp_path, "", lambda *_: None).start()


async def ended(code, folder, **spec):
    """Run `code` on one node to its end. Returns the Job, the lines that it printed, and the seconds that it took."""
    lines, started = [], time.monotonic()
    one = {"system": {"name": "a", "nodes": 1}, "template": {"command": ["python3", "-c", code]}, **spec}
    job = LocalJob(try_of(**one), folder, "", lambda line, _: lines.append(line))
    await job.start()
    async with asyncio.timeout(30):
        while not job.observed().finished:
            await asyncio.sleep(0.02)
    return job, lines, time.monotonic() - started


async def test_what_a_process_leaves_behind_ends_with_it(tmp_path):
    code = """if True:
        import subprocess, sys
        child = subprocess.Popen(["sleep", "60"])
        print(child.pid, flush=True)
        sys.exit(1)"""
    job, lines, seconds = await ended(code, tmp_path)
    assert (job.observed().finished, job.observed().container(0).exit_code) == ("Failed", 1)
    assert seconds < 10
    assert not is_running(int(lines[0]))


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs Linux")
async def test_who_has_left_the_process_group_is_ended_too(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "_KILL_AFTER_SECONDS", 0.2)
    code = """if True:
        import subprocess
        child = subprocess.Popen(["sleep", "60"], start_new_session=True)
        print(child.pid, flush=True)"""
    job, lines, seconds = await ended(code, tmp_path)
    assert (job.observed().finished, seconds < 10) == ("Complete", True)
    assert not is_running(int(lines[0]))


async def test_who_cannot_be_found_holds_up_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "_KILL_AFTER_SECONDS", 0.2)
    code = """if True:
        import subprocess
        child = subprocess.Popen(["sleep", "60"], start_new_session=True, env={})
        print(child.pid, flush=True)"""
    job, lines, seconds = await ended(code, tmp_path)
    os.kill(int(lines[0]), signal.SIGKILL)
    assert (job.observed().finished, seconds < 10) == ("Complete", True)


async def test_a_signal_is_reported(tmp_path):
    job, _, _ = await ended("import os; os.kill(os.getpid(), 9)", tmp_path)
    found = job.observed().container(0)
    assert (found.exit_code, found.signal) == (137, 9)


async def test_lines_of_any_length_and_one_without_an_end(tmp_path):
    code = """if True:
        import sys
        sys.stderr.write("\\rbar" * 1_000_000)
        sys.stderr.flush()
        sys.stdout.write(":::MLLOG one" + chr(10) + ":::MLLOG two")"""
    job, lines, _ = await ended(code, tmp_path)
    assert [line[-12:] for line in lines] == [":::MLLOG one", ":::MLLOG two"]
    assert job.log_files()[0].stat().st_size > 4_000_000


async def test_a_full_disk_holds_up_the_program_and_loses_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "_FULL_DISK_SECONDS", 0.01)
    lines, failures = [], [OSError(errno.ENOSPC, "No space left on device")] * 3

    def keep(line, _):
        if failures:
            raise failures.pop()
        lines.append(line)

    job = LocalJob(try_of(system={"name": "a", "nodes": 1}, template={"command": ["echo", "one"]}), tmp_path, "", keep)
    await job.start()
    async with asyncio.timeout(10):
        while not job.observed().finished:
            await asyncio.sleep(0.02)
    assert lines == ["one"]
