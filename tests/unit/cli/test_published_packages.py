"""Packages of published results: MLCommons' own package checker of every round accepts them.

PODIUM_TEST_RESULTS names a folder with clones of github.com/mlcommons/training_results_v0.7 and later; a round that is
not there is skipped.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

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
    (tmp_path / "code").mkdir()
    (tmp_path / "code/train.py").write_text("seed = 1\n")
    out = tmp_path / "package"
    options = ("--system", description, "--out", out, "--code", tmp_path / "code", "--org", org, "--round", round_)
    code, document = podium_json("package", folder, *options)
    assert (code, document["findings"]) == (0, [])
    code, document = podium_json("review", out, "--round", round_)
    assert (code, document["findings"]) == (0, [])
    # last, for it writes a scaling.json into the package, also in rounds that scale no score
    checker = [sys.executable, "-m", "mlperf_logging.package_checker", org, "training", f"{round_[1:]}.0"]
    done = subprocess.run(checker, cwd=out, capture_output=True, text=True, check=False)
    assert "PACKAGE CHECKER FOUND NO ERRORS" in done.stderr, done.stderr[-4000:]
