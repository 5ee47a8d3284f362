"""A run of the tests that is ended early leaves no process and no mount behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cluster import leftovers, tools
from tests.cluster.fixtures import ROOT, needed_parts
from tests.cluster.lifetime import command_line, processes_naming
from tests.cluster.parts import until

# Starts an API server and an S3 server, and a process that nobody waits for, as a trainer of a killed run
RUN = """
import subprocess, sys, time
from tests.api.conftest import kubeconfig, kubectl, server

def test_that_hangs(kubectl, server, tmp_path):
    orphan = f"import time; print({str(tmp_path)!r}); time.sleep(600)"
    subprocess.run(["sh", "-c", 'setsid "$@" &', "sh", sys.executable, "-c", orphan], check=True)
    (tmp_path / "hangs").touch()
    time.sleep(600)
"""


@pytest.fixture
def command(tmp_path):
    """The words after `pytest` that run a test which starts real parts, and hangs."""
    with needed_parts():
        tools.find_all(["etcd", "kube-apiserver", "kube-controller-manager", "kubectl", "versitygw"])
    file = tmp_path / "test_run.py"
    file.write_text(RUN)
    return ["-p", "tests.conftest", "--basetemp", str(tmp_path / "base"), "-c", str(ROOT / "pyproject.toml"), str(file)]


def start(*words: object, folder: Path) -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "KUBECONFIG"))}
    with (folder / "out").open("wb") as out:
        return subprocess.Popen(
            list(map(str, words)),
            cwd=ROOT,
            env=environment,
            stdout=out,
            stderr=out,
            preexec_fn=_accept_interrupts,  # noqa: PLW1509 - it takes no lock
        )


def _accept_interrupts() -> None:
    """A background job of a shell ignores Ctrl-C, and so do its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def programs(folder: Path) -> set[str]:
    """Names of the programs that run with a path below a folder."""
    lines = [command_line(pid).split() for pid in processes_naming(folder)]
    return {Path(words[0]).name for words in lines if words}


def until_it_hangs(folder: Path) -> None:
    until(lambda: list(folder.glob("base/*/hangs")), 90, f"the test hangs; see {folder}/out")
    expected = {"etcd", "kube-apiserver", "kube-controller-manager", "versitygw", Path(sys.executable).name}
    assert expected <= programs(folder / "base")


def assert_nothing_is_left(folder: Path) -> None:
    assert [command_line(pid) for pid in processes_naming(folder / "base")] == []
    assert str(folder) not in Path("/proc/self/mounts").read_text()


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT], ids=lambda sign: sign.name)
def test_pytest_ended_while_a_test_runs(command, tmp_path, sign):
    run = start(sys.executable, "-m", "pytest", *command, folder=tmp_path)
    until_it_hangs(tmp_path)
    run.send_signal(sign)
    if sign == signal.SIGTERM:  # make and timeout both pass it on
        time.sleep(0.2)
        run.send_signal(sign)
    assert run.wait(40) == pytest.ExitCode.INTERRUPTED, (tmp_path / "out").read_text()
    assert_nothing_is_left(tmp_path)


def test_pytest_ended_while_a_fixture_starts_the_api_server(command, tmp_path):
    run = start(sys.executable, "-m", "pytest", *command, folder=tmp_path)
    until(lambda: "kube-apiserver" in programs(tmp_path / "base"), 60, "the API server runs")
    run.terminate()
    assert run.wait(40) == pytest.ExitCode.INTERRUPTED, (tmp_path / "out").read_text()
    assert_nothing_is_left(tmp_path)


def test_make_ended(command, tmp_path):
    run = start("make", "--old-file=lint", "--old-file=tools", "test", f"TESTS={' '.join(command)}", folder=tmp_path)
    until_it_hangs(tmp_path)
    run.terminate()
    run.wait(40)
    assert_nothing_is_left(tmp_path)


def test_pytest_killed(command, tmp_path):
    """The kernel ends the programs; what a test's own process started ends by itself; the next run unmounts."""
    run = start(sys.executable, "-m", "pytest", *command, folder=tmp_path)
    until_it_hangs(tmp_path)
    run.kill()
    run.wait()
    try:
        until(
            lambda: programs(tmp_path / "base") <= {Path(sys.executable).name},
            10,
            "the programs of the cluster have ended",
        )
        leftovers.remove()
        assert str(tmp_path) not in Path("/proc/self/mounts").read_text()
    finally:
        for pid in processes_naming(tmp_path / "base"):
            os.kill(pid, signal.SIGKILL)
