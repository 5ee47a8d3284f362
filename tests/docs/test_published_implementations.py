"""The start scripts of the page about published implementations, with stand-ins for what the images have."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.docs.blocks import DOCS, Block, blocks

PAGE = DOCS / "how-to/published-implementations.md"
SCRIPTS = {(block.section, block.title): block for block in blocks(PAGE, "bash")}
POD = {
    "PET_NNODES": "2", "PET_NPROC_PER_NODE": "8", "PET_NODE_RANK": "0", "PET_MASTER_ADDR": "digits-1-0-0.digits",
    "PET_MASTER_PORT": "29500", "PODIUM_SEED": "42", "PODIUM_TARGET": "0.925", "PODIUM_PLATFORM": "box",
    "PODIUM_SUBMISSION_ORG": "ACME", "PODIUM_HYPERPARAMETERS": json.dumps({"opt_base_learning_rate": 0.0005}),
}  # fmt: skip
CONFIG = "export LR=0.0004 MAX_STEPS=1024 MLPERF_SUBMISSION_ORG=AMD MLPERF_SUBMISSION_PLATFORM=MI325X DGXNGPU=4\n"


def started(folder: Path, script: Block, *words: str, **more: str) -> list[str]:
    """Run a script; return the words and the environment of the program that it starts in the end."""
    (folder / "script.sh").write_text(script.text)
    for name in ("config_MI325X_1x8x1.sh", "config_system.sh"):
        (folder / name).write_text(CONFIG)
    for program in ("torchrun", "accelerate", "run_and_time.sh", "python"):
        (folder / program).write_text('#!/bin/sh\necho "$(basename "$0")" "$@"\nenv\n')
        (folder / program).chmod(0o755)
    environment = {**POD, "PATH": f"{folder}:{os.environ['PATH']}", **more}
    done = subprocess.run(
        ["bash", "script.sh", *words], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_every_script_is_tested() -> None:
    assert [*SCRIPTS] == [
        ("AMD", "start.sh"),
        ("NVIDIA", "start.sh"),
        ("NVIDIA", "rank.sh"),
        ("The reference", "start.sh"),
    ]


def test_what_the_run_sets_replaces_what_the_configuration_says(tmp_path: Path) -> None:
    lines = started(tmp_path, SCRIPTS["AMD", "start.sh"])
    assert lines[0] == "torchrun src/train.py"
    assert {"LR=0.0005", "MAX_STEPS=1024", "SEED=42", "DGXNNODES=2", "DGXNGPU=8"} <= {*lines}
    assert {"MLPERF_SUBMISSION_ORG=ACME", "MLPERF_SUBMISSION_PLATFORM=box"} <= {*lines}


@pytest.mark.parametrize(("node", "clears"), [("0", 1), ("1", 0)])
def test_one_rank_logs_that_the_caches_are_clear(tmp_path: Path, node: str, clears: int) -> None:
    lines = started(tmp_path, SCRIPTS["NVIDIA", "start.sh"], "config_system.sh", PET_NODE_RANK=node)
    assert sum("CACHE_CLEAR" in line and line.startswith("python") for line in lines) == clears
    assert "torchrun --no-python ./rank.sh" in lines
    assert {"CKPT_ROOT=/data/model", "SEED=42", "DGXNGPU=8"} <= {*lines}


def test_a_rank_has_the_variables_that_lightning_reads(tmp_path: Path) -> None:
    ranks = {"RANK": "9", "LOCAL_RANK": "1", "GROUP_RANK": "1", "WORLD_SIZE": "16", "LOCAL_WORLD_SIZE": "8"}
    lines = started(tmp_path, SCRIPTS["NVIDIA", "rank.sh"], **ranks, MASTER_ADDR="digits-1-0-0.digits")
    assert {"SLURM_PROCID=9", "SLURM_LOCALID=1", "SLURM_NODEID=1", "SLURM_NTASKS=16", "SLURM_NTASKS_PER_NODE=8",
            "SLURM_NODELIST=digits-1-0-0.digits"} <= {*lines}  # fmt: skip


def test_the_reference_starts_on_every_node(tmp_path: Path) -> None:
    (words, *_) = started(tmp_path, SCRIPTS["The reference", "start.sh"], "--bf16", "True", PET_NODE_RANK="1")
    assert "--num_machines 2 --num_processes 16 --machine_rank 1" in words
    assert "--main_process_ip digits-1-0-0.digits --main_process_port 29500" in words
    assert words.endswith("--seed 42 --target_eval_loss 0.925 --bf16 True")
