"""How images are built: from requirements.lock, by the same steps with each tool. What is in them: tests/e2e/test_images.py."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace

import pytest
from images.build import Options, build_command

from tests.cluster.fixtures import ROOT

LISTS = ("operator", "trainer", "tools")
OPTIONS = Options(
    tool="podman",
    prefix="registry.example/team/",
    tag="0.1.0",
    base=None,
    revision="abc",
    source="https://example.org/podium",
    epoch=1700000000,
    secrets=("id=pip.conf,src=/etc/pip.conf",),
)


def pins(file):
    """Name, version and marker -> hashes."""
    entries = re.split(r"\n(?=\S)", file.read_text())
    return {
        entry.partition(" \\\n")[0]: frozenset(re.findall(r"--hash=(\S+)", entry)) for entry in entries if "==" in entry
    }


@pytest.mark.parametrize("image", LISTS)
def test_everything_in_an_image_is_locked(image):
    """The very versions and hashes that tests run with; `make lock` renews both."""
    locked = pins(ROOT / "requirements.lock")
    listed = pins(ROOT / f"images/{image}/requirements.txt")
    assert len(listed) > 20
    assert all(hashes for hashes in listed.values())
    names = {pin.partition("==")[0]: pin for pin in locked}
    for pin, hashes in listed.items():
        name, version = re.match(r"([^=]+)==(\S+)", pin).groups()
        assert any(entry.startswith(f"{name}=={version}") and hashes == locked[entry] for entry in locked), (
            f"images/{image}/requirements.txt has {pin}, requirements.lock {names.get(name)}: run `make lock`"
        )


def test_the_operator_carries_no_trainer():
    names = {pin.partition("==")[0] for pin in pins(ROOT / "images/operator/requirements.txt")}
    assert {"kopf", "kubernetes", "boto3"} <= names
    assert not names & {"torch", "numpy", "scipy", "pandas", "mlperf-logging"}


def test_each_tool_gets_the_time_in_its_own_way():
    docker, podman, buildah = (
        build_command("operator", replace(OPTIONS, tool=tool)) for tool in ("docker", "podman", "buildah")
    )
    assert docker[:4] == ["docker", "build", "--file", "images/operator/Containerfile"]
    for command in (docker, podman, buildah):
        assert "--build-arg=SOURCE_DATE_EPOCH=1700000000" in command
        assert "--secret=id=pip.conf,src=/etc/pip.conf" in command
        assert not [word for word in command if "BASE=" in word], "without one the Containerfile's holds"
    assert "--timestamp" not in docker
    assert podman[1:] == buildah[1:]
    assert podman[-2:] == ["--timestamp", "1700000000"]


def test_a_wrong_image_is_refused_with_the_choice():
    done = subprocess.run(
        [sys.executable, ROOT / "images/build.py", "trainers"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "no such image: trainers; choose from operator, trainer" in done.stderr


def test_docker_and_podman_leave_out_the_same_files():
    assert (ROOT / ".dockerignore").read_bytes() == (ROOT / ".containerignore").read_bytes()
