"""How the programs of the tests are built, with a Go that only pretends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.cluster import tools
from tests.cluster.fixtures import ROOT, needed_parts
from tests.cluster.lifetime import command_line, processes
from tests.cluster.parts import until
from tests.cluster.processes import NotBuiltError

# Writes what it is asked to build, and a line for each call. A file `script` beside it runs first.
GO = """#!/bin/sh
here=$(dirname "$0")
case $1 in
version) echo "go version go1.26.0 linux/amd64"; exit ;;
env) echo "$here"; exit ;;
mod) exit ;;
list) echo "$here/module"; exit ;;
esac
for last; do :; done
echo "${last##*/}" >> "$here/calls"
[ -e "$here/script" ] && . "$here/script"
while [ "$1" != -o ]; do shift; done
echo built > "$2"
"""

# Programs of this machine do not count
BUILD = """
from tests.cluster import __main__, tools
tools._installed = lambda name: None
__main__.main()
"""


class Machine:
    """A folder with a pretended Go and an empty cache."""

    def __init__(self, folder):
        self.cache, self.go = folder / "cache", folder / "bin"
        stages = self.go / "module/kustomize/stage"
        for name in ("node/fast/node-initialize", "pod/fast/pod-ready", "pod/fast/pod-complete", "pod/fast/pod-delete"):
            file = stages / f"{name}.yaml"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("{}")
        (self.go / "go").write_text(GO)
        (self.go / "go").chmod(0o755)
        path = f"{self.go}:/usr/bin:/bin"
        self.environment = {**os.environ, "PODIUM_CACHE": str(self.cache), "PATH": path}

    def start(self):
        command = [sys.executable, "-c", BUILD, "build"]
        return subprocess.Popen(command, cwd=ROOT, env=self.environment, stderr=subprocess.PIPE, text=True)

    def build(self):
        process = self.start()
        return process.communicate(timeout=60)[1], process.returncode

    def script(self, text):
        (self.go / "script").write_text(text)

    @property
    def calls(self):
        return (self.go / "calls").read_text().split()

    @property
    def built(self):
        return {file.name for file in self.cache.glob("tools/*/*") if not file.name.startswith(".")}


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_every_program_of_make_test_is_built_with_its_progress_and_only_once(machine):
    said, code = machine.build()
    assert code == 0, said
    assert machine.built == set(tools.FOR_TEST)
    count = len(tools.FOR_TEST)
    assert f"building kube-apiserver (1 of {count}): 0 s\n" in said
    assert f"built {count} programs in " in said
    assert machine.build() == ("", 0)
    assert len(machine.calls) == count - 1  # kwok-stages are files


def test_another_version_of_kubernetes_is_built_beside_it(machine):
    machine.build()
    machine.environment["PODIUM_TEST_KUBERNETES"] = "1.29"
    said, code = machine.build()
    assert code == 0, said
    assert "building kube-apiserver (1 of 3)" in said
    others = {file.name for file in machine.cache.glob("tools/kube-1.29-*/*")}
    assert others == {"kube-apiserver", "kube-controller-manager", "kube-scheduler"}
    machine.environment["PODIUM_TEST_KUBERNETES"] = "1.12"
    said, code = machine.build()
    assert code == 1
    assert "PODIUM_TEST_KUBERNETES=1.12: choose one of 1.29, 1.33, or leave it out" in said


def test_a_build_that_is_ended_leaves_no_go_and_continues(machine):
    machine.script('[ "${last##*/}" = kubectl ] && sleep 617')
    process = machine.start()
    until(lambda: (machine.go / "calls").exists() and "kubectl" in machine.calls, 30, "kubectl is being built")
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=30)[1]
    assert "continues where it stopped" in said
    assert "sleep 617" not in map(command_line, processes())
    assert machine.built == {"kube-apiserver", "kube-controller-manager", "kube-scheduler"}
    machine.script("")
    said, code = machine.build()
    assert code == 0, said
    assert f"building kubectl (1 of {len(tools.FOR_TEST) - 3})" in said
    assert machine.calls.count("kube-apiserver") == 1


def test_two_builds_at_once_share_the_work(machine):
    machine.script("sleep 0.2")
    first, second = machine.start(), machine.start()
    said = sorted([first.communicate(timeout=60)[1], second.communicate(timeout=60)[1]], key=len)
    assert (first.returncode, second.returncode) == (0, 0)
    assert said[0].startswith("another build in ")
    assert len(machine.calls) == len(set(machine.calls))


def test_a_download_that_breaks_is_tried_again(machine):
    machine.script('[ $(wc -l < "$here/calls") -lt 3 ] && { echo "dial tcp 10.0.0.1:443: i/o timeout"; exit 1; }')
    said, code = machine.build()
    assert code == 0, said
    assert said.count("a download failed, trying again") == 2
    assert machine.calls[:3] == ["kube-apiserver"] * 3


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("write /x/pkg.a: no space left on device", "no space left on the disk. Building takes about"),
        ("x.go:1: undefined: y", "building kube-apiserver (1 of 9) failed:\nx.go:1: undefined: y"),
    ],
)
def test_a_build_that_fails_says_why_at_once(machine, output, sentence):
    machine.script(f'echo "{output}"; exit 1')
    said, code = machine.build()
    assert code == 1
    assert sentence in said
    assert len(machine.calls) == 1
    assert not machine.built


@pytest.fixture
def empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("PODIUM_CACHE", str(tmp_path))
    monkeypatch.setattr(tools, "_installed", lambda name: None)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["etcd"], "etcd is not built: run make tools"),
        (["etcd", "helm"], "etcd, helm are not built: run make tools"),
        (["etcd", "kubelet"], "etcd, kubelet are not built: run make tools-e2e"),
    ],
)
def test_a_missing_program_names_the_command_that_builds_it(empty_cache, names, sentence):
    with pytest.raises(NotBuiltError) as error:
        tools.find_all(names)
    assert str(error.value) == sentence


@pytest.mark.parametrize("ci", ["true", ""])
def test_a_test_without_its_program_fails_everywhere(empty_cache, monkeypatch, ci):
    monkeypatch.setenv("CI", ci)
    with pytest.raises(pytest.fail.Exception, match=r"^kube-apiserver is not built: run make tools$"), needed_parts():
        tools.find("kube-apiserver")
