"""The commands of the page on submissions, in its order, from a closed run to a verified package."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.docs.blocks import DOCS, commands
from tests.unit.cli.test_own_submissions import RUN, SETTINGS, TRAINER

PAGE = DOCS / "how-to/submit.md"
BUCKET = "s3://my-bucket/"
PODIUM = [sys.executable, "-m", "podium"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a signed result of a trainer that stands in for Podium's, and the public key."""
    place = tmp_path_factory.mktemp("submit")
    trainer = place / "path/podium_benchmarks"
    trainer.mkdir(parents=True)
    (trainer / "__init__.py").touch()
    (trainer / "resnet.py").write_text(TRAINER.replace("SETTINGS", repr(json.dumps(SETTINGS))))
    spec = {name: value for name, value in RUN.items() if name != "template"} | {
        "system": {"name": "dgx-8", "nodes": 1, "acceleratorsPerNode": 1},
        "data": {"persistentVolumeClaim": {"claimName": "imagenet"}},
        **yaml.safe_load(PAGE.read_text().split("```yaml")[1].split("```")[0])["spec"],
    }
    document = {
        "apiVersion": "podium.dev/v1alpha1",
        "kind": "BenchmarkRun",
        "metadata": {"name": "resnet"},
        "spec": spec,
    }
    (place / "run.yaml").write_text(yaml.safe_dump(document))
    (place / "data").mkdir()
    said(place, "podium keygen --out keys")
    (place / "podium.pub").write_text((place / "keys/podium.pub").read_text())
    said(place, "podium run --local run.yaml --data data --signing-key keys/podium.key "
                "--out my-bucket/podium/lab/resnet-1a2b3c4d")  # fmt: skip
    return place


def said(place: Path, command: str) -> str:
    """What a command prints, with a folder in the place of the bucket; it must succeed."""
    words = shlex.split(command.replace(BUCKET, "my-bucket/"))
    assert words[0] == "podium"
    environment = {**os.environ, "PYTHONPATH": str(place / "path"), "COLUMNS": "200"}
    done = subprocess.run(
        [*PODIUM, *words[1:]], cwd=place, capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def test_the_page_leads_from_a_result_to_a_verified_package(place):
    score, check, describe, package, review, verify = commands(PAGE)
    assert "invalid" not in said(place, score)
    assert "no findings" in said(place, check)
    assert "cooling: air or liquid" in said(place, describe)
    described = json.loads((place / "dgx-8.json").read_text())
    filled = {name: "" if text.startswith("FILL IN: ") else text for name, text in described.items()}
    (place / "dgx-8.json").write_text(json.dumps(filled))
    assert "result_0.txt is my-bucket" not in (text := said(place, package))
    assert "result_0.txt is attempts/001/result.txt" in text
    assert {path.name for path in (place / "package/ACME").iterdir()} == {"benchmarks", "podium", "results", "systems"}
    assert "no findings" in said(place, review)
    assert "Proven: the holder of key" in said(place, verify)
