"""When the clock starts, by round, and what the opening lines of a round's log are."""

import ctypes
import mmap
import os
from dataclasses import replace

import pytest
import torch

from podium_benchmarks.core import cli, clock
from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.core.files import drop_from_cache
from podium_benchmarks.resnet import BENCHMARK as RESNET

RANKS = Ranks(rank=0, world_size=1, device=torch.device("cpu"), cores=1)


@pytest.fixture
def written(capsys, log_lines):
    """The lines of a run that builds its model between opening the log and starting the clock."""

    def write(**environment):
        settings = cli.parse(RESNET, [], environment).settings
        log = clock.open_log(RANKS, "resnet", settings, 90)
        log.event("model built")
        clock.start(log, RANKS, 90)
        clock.stop(log, RANKS, settings, reached=True, epoch=61)
        return log_lines(capsys.readouterr().out)

    return write


@pytest.mark.parametrize(
    ("environment", "order"),
    [
        ({}, "cache_clear, init_start, model built, init_stop, run_start, run_stop"),
        ({"PODIUM_ROUND": "v0.6"}, "cache_clear, init_start, model built, init_stop, run_start, run_stop"),
        ({"PODIUM_ROUND": "v0.5"}, "cache_clear, init_start, init_stop, run_start, model built, run_stop, run_final"),
    ],
)
def test_the_clock_runs_from_the_model_on_in_v0_5_and_from_the_data_on_since(written, environment, order):
    lines = written(**environment)
    found = [line["key"] for line in lines if not line["key"].startswith("submission_")]
    assert ", ".join(found) == f"number_of_ranks, {order}"
    (start,) = (line for line in lines if line["key"] == "run_start")
    assert start["metadata"]["max_epochs"] == 90


def test_v0_6_names_a_person_and_an_entry(written):
    lines = written(PODIUM_ROUND="v0.6", PODIUM_PLATFORM="box", PODIUM_SUBMISSION_POC_NAME="Ada Example")
    values = {line["key"]: line["value"] for line in lines}
    assert (values["submission_poc_name"], values["submission_entry"]) == ("Ada Example", "box")
    assert "submission_poc_name" not in {line["key"] for line in written(PODIUM_ROUND="v0.7")}


def test_the_round_can_be_asked_for(launch, log_lines):
    run = launch("resnet", "--round", "v0.5", "--set", "max_epochs=1", "--set", "width=4")
    keys = [line["key"] for line in log_lines(run.stdout)]
    assert keys.index("run_start") < keys.index("seed") < keys.index("train_samples")
    assert keys[-2:] == ["run_stop", "run_final"]
    with pytest.raises(cli.UsageError, match=r"^--round '0\.5' is not the name of a round, such as v0\.5 or v0\.6$"):
        cli.parse(RESNET, ["--round", "0.5"], {})


def test_ncf_s_clock_starts_with_the_first_random_draw(launch, log_lines):
    """v0.5's own rule for it: reading the ratings is preparation."""
    run = launch("ncf", "--round", "v0.5", "--set", "max_epochs=1", "--set", "generated_users=100")
    keys = [line["key"] for line in log_lines(run.stdout)]
    assert keys.index("seed") < keys.index("init_stop") < keys.index("run_start") < keys.index("train_samples")
    assert keys[-2:] == ["run_stop", "run_final"]


# ---- caches ----


def cache_clear(capsys, log_lines, data_dir, **settings):
    """The value and what is said about it, of a log that is opened on a data set."""
    settings = replace(cli.parse(RESNET, [], {}).settings, data_dir=data_dir, **settings)
    clock.open_log(RANKS, "resnet", settings, 90)
    (line,) = (line for line in log_lines(capsys.readouterr().out) if line["key"] == "cache_clear")
    said = line["metadata"]
    return line["value"], said["cleared"], said.get("files"), said.get("files_kept")


def test_the_log_says_which_caches_were_cleared(tmp_path, capsys, log_lines):
    (tmp_path / "train/n01440764").mkdir(parents=True)
    for name in ("train/n01440764/1.JPEG", "train/n01440764/2.JPEG", "classes.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "train/again").symlink_to(tmp_path)  # a loop
    assert cache_clear(capsys, log_lines, tmp_path) == (True, ["data set"], 3, 0)
    assert cache_clear(capsys, log_lines, tmp_path, cache_cleared="node") == (True, ["node", "data set"], 3, 0)
    assert cache_clear(capsys, log_lines, None) == (True, ["no data set is read"], None, None)


def test_a_file_that_cannot_be_dropped_is_not_called_cleared(tmp_path, capsys, log_lines):
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "there").write_bytes(b"x")
    assert cache_clear(capsys, log_lines, tmp_path) == (False, ["data set"], 1, 1)


def is_cached(file):
    """Whether the first page of a file is in memory. Trying to read it without waiting would begin to fetch it."""
    resident = (ctypes.c_ubyte * 1)()
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), mmap.PAGESIZE, access=mmap.ACCESS_COPY) as pages:
        start = (ctypes.c_ubyte * mmap.PAGESIZE).from_buffer(pages)
        failed = ctypes.CDLL(None).mincore(start, ctypes.c_size_t(mmap.PAGESIZE), resident)
        del start  # else the mapping cannot be closed
    assert not failed
    return bool(resident[0] & 1)


def test_a_dropped_file_is_no_longer_in_memory(tmp_path):
    files = [tmp_path / f"{number}.bin" for number in range(600)]
    for file in files:
        file.write_bytes(b"x" * mmap.PAGESIZE)
    os.sync()  # only what is on the disk can be dropped
    assert all(map(is_cached, files))
    assert drop_from_cache(tmp_path) == (600, 0)
    assert not any(map(is_cached, files))
