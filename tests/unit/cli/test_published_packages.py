"""Packages of every round: MLCommons' own package checker accepts them.

They are made of published results. PODIUM_TEST_RESULTS names a folder with clones of
github.com/mlcommons/training_results_v0.7 and later; a round that is not there is skipped. The newest rounds have none
yet, so theirs are made of made-up logs.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from podium.rules.system import FIELDS
from tests.unit.cli.logs import lora_run, mllog, write

RESULTS = Path(os.environ.get("PODIUM_TEST_RESULTS") or "no such folder")
# small entries, of submitters whose results MLCommons' checker of today accepts
ENTRIES = {
    "v0.7": "Google/results/tpu-v4-16-TF/ssd",
    "v1.0": "Inspur/results/nf5688m6_mxnet/resnet",
    "v1.1": "Dell/results/XE8545x4A100-SXM-80GB/resnet",
    "v2.0": "H3C/results/R5300G5x8A100-PCIE-80GB/ssd",
    "v2.1": "Dell/results/R750xax4A100-PCIE-80GB/ssd",
    "v3.0": "Supermicro/results/AS-4125GS-TNRT_8_H100-PCIe-80GB/resnet",
    "v3.1": "Supermicro/results/SYS-421GU-TNXR/resnet",
    "v4.0": "Dell/results/XE9680x8H100-SXM-80GB/bert",
    "v4.1": "Cisco/results/C885a-8xH100-SXM-80G/ssd",
    "v5.0": "tinycorp/results/tinybox_red/bert",
    "v5.1": "Supermicro/results/ARS-121GL-NB3/llama2_70b_lora",
}
# what a log of Llama 2 70B LoRA says beyond one of v5.1, and days since June 2019 at which the round was open
UNPUBLISHED = {
    "v6.0": ({}, 2500),
    "v6.1": (
        dict.fromkeys([f"lowest_numerical_precision_in_{part}" for part in ("linear", "attn", "comm")], "fp8")
        | dict.fromkeys([f"{kind}_parallelism" for kind in ("tensor", "pipeline", "context", "expert")], 1)
        | {"micro_batch_size": 1, "config_filename": "config_box.sh"},
        2700,
    ),
}


def git(round_, *words):
    clone = RESULTS / f"training_results_{round_}"
    return subprocess.run(["git", "-C", clone, *words], capture_output=True, check=True).stdout


@pytest.mark.parametrize(("round_", "entry"), ENTRIES.items(), ids=ENTRIES)
def test_the_official_checker_accepts_a_package_of_its_round(podium_json, tmp_path, round_, entry):
    if not (RESULTS / f"training_results_{round_}").exists():
        pytest.skip(f"the results of {round_} are not here: set PODIUM_TEST_RESULTS")
    org, _, system, _ = entry.split("/")
    logs = git(round_, "ls-tree", "--name-only", "HEAD", f"{entry}/").decode().splitlines()
    folder = tmp_path / entry
    folder.mkdir(parents=True)
    for log in (log for log in logs if re.search(r"/result_\d+\.txt$", log)):
        (tmp_path / log).write_bytes(git(round_, "show", f"HEAD:{log}"))
    description = tmp_path / f"{system}.json"
    description.write_bytes(git(round_, "show", f"HEAD:{org}/systems/{system}.json"))
    packaged_and_accepted(podium_json, tmp_path, folder, description, org, round_)


@pytest.mark.parametrize("round_", UNPUBLISHED)
def test_the_official_checker_accepts_a_package_of_a_round_without_published_results(podium_json, tmp_path, round_):
    more, days = UNPUBLISHED[round_]
    runs = [
        lora_run(at=days * 86400 + 3600 * n, seed=n, noise=0.0002 * (n * 7 % 13) - 0.002, evaluations=6)
        for n in range(10)
    ]
    for n, run in enumerate(runs):
        run[2:2] = [mllog(key, value, days * 86400 + 3600 * n - 60) for key, value in more.items()]
    described = {
        "submitter": "acme", "division": "closed", "status": "Available on-premise", "system_name": "box",
        "number_of_nodes": "1", "host_processors_per_node": "2", "accelerators_per_node": "8",
    }  # fmt: skip
    description = tmp_path / "box.json"
    description.write_text(json.dumps(dict.fromkeys(FIELDS, "") | described))
    folder = write(tmp_path / "logs/llama2_70b_lora", runs)
    packaged_and_accepted(podium_json, tmp_path, folder, description, "acme", round_)


def packaged_and_accepted(podium_json, place, folder, description, org, round_):
    """`package` makes a package of the logs in `folder`; `review` and MLCommons' checker find nothing in it."""
    (place / "code").mkdir()
    (place / "code/train.py").write_text("seed = 1\n")
    out = place / "package"
    options = ("--system", description, "--out", out, "--code", place / "code", "--org", org, "--round", round_)
    code, document = podium_json("package", folder, *options)
    assert (code, document["findings"]) == (0, [])
    code, document = podium_json("review", out, "--round", round_)
    assert (code, document["findings"]) == (0, [])
    # last, for it writes a scaling.json into the package, also in rounds that scale no score
    checker = [sys.executable, "-m", "mlperf_logging.package_checker", org, "training", f"{round_[1:]}.0"]
    done = subprocess.run(checker, cwd=out, capture_output=True, text=True, check=False)
    assert "PACKAGE CHECKER FOUND NO ERRORS" in done.stderr, done.stderr[-4000:]
