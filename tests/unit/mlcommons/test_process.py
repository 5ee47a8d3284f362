"""The process of MLCommons' tools: what it may do, and what becomes of one that misbehaves."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from podium.mlcommons import process
from podium.mlcommons.process import ToolError, worker

# The worker's own start, then attempts in place of MLCommons' tools
PROBE = """
import importlib.util, os, socket, subprocess, sys
spec = importlib.util.spec_from_file_location("worker", sys.argv[1])
module = sys.modules["worker"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)

def kernel_connect(port):
    module._REFUSED = ()  # native code does not ask the hook
    with socket.create_connection(("127.0.0.1", port), 5): return "connected"

def spin():
    while True: pass

ATTEMPTS = {
    "environment": lambda _: dict(os.environ),
    "folder": lambda _: [os.getcwd(), os.listdir("."), os.environ["HOME"]],
    "python": lambda _: [sys.flags.isolated, [p for p in sys.path if not p.startswith((sys.prefix, sys.base_prefix))]],
    "connect": lambda port: kernel_connect(port),
    "socket": lambda _: socket.socket(),
    "start": lambda _: subprocess.run(["true"]),
    "shell": lambda _: os.system("true"),
    "fork": lambda _: os.fork(),
    "read": lambda path: open(path).read(),
    "write": lambda path: open(path, "w").write("x"),
    "remove": lambda path: os.remove(path),
    "link": lambda path: os.symlink(path, "here"),
    "library": lambda _: __import__("ctypes").CDLL(None),
    "own": lambda _: open("mine", "w").write("x"),
    "memory": lambda size: len(bytearray(size)),
    "long": lambda size: "x" * size,
    "spin": lambda _: spin(),
    "exit": lambda _: os._exit(3),
}
module.Tools.answer = lambda self, request: {"said": ATTEMPTS[request["operation"]](request["arguments"].get("of"))}
module.main()
"""


@pytest.fixture
def attempt(tools_of, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("KUBECONFIG", "/secret")
    monkeypatch.setenv("PYTHONSTARTUP", "/secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://secret")
    tools_of(sys.executable, "-I", "-B", "-c", PROBE, process.COMMAND[-1])

    def run(what, of=None, seconds=60):
        return worker().ask(what, seconds=seconds, of=of)["said"]

    return run


def test_its_environment_is_empty(attempt):
    found = attempt("environment")
    assert set(found) <= {"PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "TZ", "LC_CTYPE", "OPENBLAS_NUM_THREADS",
                          "OMP_NUM_THREADS"}  # fmt: skip
    assert "secret" not in str(found)


def test_its_folder_is_private_and_empty(attempt):
    folder, held, home = attempt("folder")
    assert (held, home) == ([], folder)
    assert Path(folder).stat().st_mode & 0o077 == 0
    assert attempt("own") == 1
    process.stop()
    assert not Path(folder).exists()


def test_it_finds_no_modules_in_the_working_folder(attempt):
    isolated, _ = attempt("python")
    assert isolated == 1


def kernel_allows_it():
    """Whether a process of ours may leave the network: containers often may not."""
    code = "import ctypes, sys; sys.exit(ctypes.CDLL(None).unshare(0x50000000) != 0)"
    return subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_it_has_no_network_in_the_kernel(attempt):
    with socket.create_server(("127.0.0.1", 0)) as server:
        if worker().has_network and not kernel_allows_it():
            pytest.skip("this machine allows no network namespaces: sockets are refused by the audit hook alone")
        with pytest.raises(ToolError, match=r"ConnectionRefused|Network is unreachable"):
            attempt("connect", server.getsockname()[1])


@pytest.mark.parametrize(
    ("what", "of"),
    [("socket", None), ("start", None), ("shell", None), ("fork", None), ("library", None), ("read", "/etc/passwd"),
     ("link", "/etc/passwd")],
)  # fmt: skip
def test_what_it_is_refused(attempt, what, of):
    with pytest.raises(ToolError, match=r"PermissionError: .* is not (allowed for|accessible to) MLCommons' tools"):
        attempt(what, of)


@pytest.mark.parametrize("what", ["write", "remove"])
def test_what_lies_outside_of_its_folder_stays_as_it_is(attempt, tmp_path, what):
    mine = tmp_path / "mine"
    mine.write_text("mine")
    with pytest.raises(ToolError, match=r"is not (allowed for|accessible to) MLCommons' tools"):
        attempt(what, str(mine))
    assert mine.read_text() == "mine"


def test_its_memory_is_limited(attempt):
    with pytest.raises(ToolError, match="MemoryError"):
        attempt("memory", 5 << 30)


def test_an_answer_without_end_is_not_read(attempt):
    with pytest.raises(ToolError, match="its answer is longer than 16 MiB"):
        attempt("long", 17 << 20)


def test_a_process_that_does_not_answer_is_ended_and_another_answers(attempt):
    first, start = worker(), time.monotonic()
    with pytest.raises(ToolError, match="did not answer within 1 s"):
        attempt("spin", seconds=1)
    assert time.monotonic() - start < 20
    assert not first.alive
    assert attempt("own") == 1


def test_a_process_that_ends_is_an_error_and_another_answers(attempt):
    with pytest.raises(ToolError, match="its process ended with code 3"):
        attempt("exit")
    assert attempt("own") == 1
    process = worker()._process
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert attempt("own") == 1


def test_one_process_answers_all_questions(attempt):
    first = worker()
    for _ in range(3):
        attempt("own")
    assert worker() is first


def test_it_knows_the_rounds(tools_of):
    rules = worker().rulesets
    assert {"0.6.0", "0.7.0", "5.1.0"} <= rules.keys()
    assert {"resnet", "ssd", "minigo"} <= rules["0.6.0"].benchmarks
    assert {"common", "closed_common", "closed_resnet_lars"} <= rules["0.7.0"].files
