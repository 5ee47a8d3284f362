"""The processes of a local try, and what they get."""

from __future__ import annotations

import asyncio
import json

import pytest

from podium.api import TryId
from podium.launch import launch_for
from podium.local.processes import LaunchError, LocalJob
from podium.reconcile import CreateJob
from podium.rounds import load_rounds
from tests.unit.reconcile import examples as ex

SAY = "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ)]), flush=True)\n"
ONE = {"name": "laptop", "nodes": 2}


def try_of(**spec):
    run = ex.run(**{"benchmark": "ncf", "division": "open", "preset": "tiny", "system": ONE, **spec})
    return launch_for(run, CreateJob(TryId(attempt=1, number=0), seed=7), load_rounds())


async def outputs(launch, folder):
    """What each node prints, as JSON."""
    job = LocalJob(launch, folder, "", lambda _: None)
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
    monkeypatch.setattr("podium.local.processes.importlib.util.find_spec", lambda _: None)
    with pytest.raises(LaunchError, match=r"install podium-benchmarks into this environment \(make install\)"):
        await LocalJob(try_of(), tmp_path, "", lambda _: None).start()
