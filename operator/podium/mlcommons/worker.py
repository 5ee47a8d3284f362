"""The program that runs MLCommons' tools (``mlperf_logging``), started by `podium.mlcommons.process`.

MLCommons' rules are Python code that their checker evaluates, in files that a log selects by its values. The author of
a log must not be able to choose what code runs. So this program gets only values that Podium has validated, and
confines itself before the first of them arrives. It imports nothing from Podium.

What is guaranteed, and where:

- everywhere: no environment except PATH, HOME, LANG and the like; a private, empty folder as HOME and working folder;
  limits on memory, CPU time, file sizes and open files; only rule files that were installed with ``mlperf_logging`` are
  read as rules, whatever a log says.
- on Linux, if user namespaces are allowed (or as root): no network at all, not even loopback, enforced by the kernel.
- everywhere, in addition: an audit hook of Python refuses sockets, new processes, native libraries, reading outside
  Python's own folders and the private one, and writing outside the latter. This stops Python code, not native code.

Protocol: one JSON document per line, requests on standard input, answers on the original standard output. The first
answer comes without a request: {"rulesets": {...}} with what is known about each, or {"missing": reason}.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import logging
import os
import re
import resource
import sys
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

MEMORY_BYTES = 4 << 30
FILE_BYTES = 256 << 20
CPU_SECONDS = 300  # for one request
MAX_MESSAGES = 1000
MAX_CHARACTERS = 4000  # in a message
MAX_RULE_FILES = 1000  # read for one log; if four ranks log the optimizer, its file is read four times
_CLONE_NEWUSER, _CLONE_NEWNET, _NO_NEW_PRIVS = 0x10000000, 0x40000000, 38
_REFUSED = ("socket.", "subprocess.", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.system", "ctypes.",
            "pty.", "os.kill", "os.link", "os.symlink", "os.chown", "os.chmod", "shutil.")  # fmt: skip
_CHANGING = frozenset({"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate"})
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass
class Line:
    """A log line as the checker's rules expect it (its LogLine). Stable Diffusion's rules copy it as a dataclass."""

    full_string: str
    timestamp: float
    key: str
    value: dict[str, Any]
    lineno: int


class RuleFiles:
    """Replaces the checker's enqueue_config, so that only installed rule files are read."""

    def __init__(self, folder: Path, queue: list[str]) -> None:
        self.installed = frozenset(f.relative_to(folder).as_posix() for f in folder.glob("training_*/*.yaml"))
        self.refused: list[str] = []
        self._queue, self._count = queue, 0

    def clear(self) -> None:
        self._queue.clear()
        self.refused, self._count = [], 0

    def __call__(self, name: str) -> None:
        self._count += 1
        if name in self.installed and self._count <= MAX_RULE_FILES:
            self._queue.append(name)
        elif len(self.refused) < MAX_MESSAGES:
            self.refused.append(str(name)[:MAX_CHARACTERS])


class Tools:
    """MLCommons' tools behind two requests. Raises ImportError if mlperf_logging is not installed."""

    def __init__(self, guard: Guard) -> None:
        import yaml  # noqa: PLC0415
        from mlperf_logging import benchmark_meta  # noqa: PLC0415
        from mlperf_logging.compliance_checker import mlp_compliance  # noqa: PLC0415

        self._guard, self._compliance, self._meta = guard, mlp_compliance, benchmark_meta
        self._rules = RuleFiles(Path(mlp_compliance.__file__).parent, mlp_compliance.enqueued_configs)
        mlp_compliance.enqueue_config = self._rules
        loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)

        @cache
        def rules_in(path: str) -> Any:
            return yaml.load(Path(path).read_bytes(), Loader=loader)  # noqa: S506 - only strings, lists and dictionaries

        # it rereads the same files for each log, which takes longer than all the rest
        mlp_compliance.yaml = SimpleNamespace(load=lambda file, Loader: rules_in(file.name), BaseLoader=None)  # noqa: N803, ARG005

    def rulesets(self) -> dict[str, dict[str, list[str]]]:
        """The benchmarks and rule files of each training ruleset."""
        found: dict[str, dict[str, list[str]]] = {}
        for name in sorted(self._rules.installed):
            if match := re.fullmatch(r"training_(\d+\.\d+\.\d+)/(\w+)\.yaml", name):
                found.setdefault(match[1], {"files": []})["files"].append(match[2])
        for ruleset, known in found.items():
            known["benchmarks"] = sorted(set(self._meta.get_allowed_benchmarks("training", ruleset)))
        return found

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Execute a request. Raises anything that MLCommons' code raises."""
        operations: dict[str, Callable[..., dict[str, Any]]] = {
            "check": self.check, "package": self.package
        }  # fmt: skip
        return operations[request["operation"]](**request["arguments"])

    def check(self, ruleset: str, config: str, events: list[list[Any]]) -> dict[str, Any]:
        """Check one log against the rules. Events are [line number, timestamp, key, value, metadata]."""
        self._rules.clear()
        lines = [Line(str(n), time, key, {"value": value, "metadata": meta}, n) for n, time, key, value, meta in events]
        checker = self._compliance.make_checker("training", ruleset, True, False)
        checker.check_loglines(lines, f"training_{ruleset}/{config}.yaml")
        messages = [*checker.overwritable.values(), *checker.not_overwritable]
        return {"messages": [text[:MAX_CHARACTERS] for text in messages[:MAX_MESSAGES]], "refused": self._rules.refused}

    def package(self, ruleset: str, folder: str, org: str) -> dict[str, Any]:
        """Run the package checker on the package `folder`/`org` below the private folder."""
        self._guard.load("mlperf_logging.rcp_checker.rcp_checker")
        from mlperf_logging.package_checker import package_checker  # noqa: PLC0415

        self._rules.clear()
        with _listening() as heard, contextlib.chdir(folder):
            package_checker.check_training_package(
                org, "training", ruleset, quiet=False, werror=False, rcp_bypass=False, rcp_bert_train_samples=False,
                seed_checker_bypass=False, log_output="",
            )  # fmt: skip
        return {"passed": heard.passed, "errors": heard.errors, "refused": self._rules.refused}


class _Listener(logging.Handler):
    """Collects errors, and whether the package checker reported success, which it does only in its log."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.errors: list[str] = []
        self.passed = False

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR and len(self.errors) < MAX_MESSAGES:
            self.errors.append(record.getMessage()[:MAX_CHARACTERS])
        elif "PACKAGE CHECKER FOUND NO ERRORS" in record.getMessage():
            self.passed = True


@contextlib.contextmanager
def _listening() -> Any:
    root, listener = logging.getLogger(), _Listener()
    root.setLevel(logging.INFO)
    root.addHandler(listener)
    try:
        yield listener
    finally:
        root.removeHandler(listener)
        root.setLevel(logging.CRITICAL)


class Guard:
    """An audit hook that refuses operations that MLCommons' tools do not need. Hooks cannot be removed."""

    def __init__(self, private: Path) -> None:
        self._own = f"{private.resolve()}{os.sep}"
        python = {sys.prefix, sys.base_prefix, *sysconfig.get_paths().values(), *filter(None, sys.path)}
        self._readable = (self._own, *(f"{Path(folder).resolve()}{os.sep}" for folder in python))
        self._loading = False
        sys.addaudithook(self._watch)

    def load(self, module: str) -> None:
        """Import a module of the tools that opens native libraries by name (scipy does)."""
        self._loading = True
        try:
            importlib.import_module(module)
        finally:
            self._loading = False

    def _watch(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            self._within(self._own if (arguments[2] or 0) & _WRITING else self._readable, arguments[0])
        elif event in _CHANGING:
            for path in arguments:
                if isinstance(path, str | bytes | os.PathLike):
                    self._within(self._own, path)
        elif event.startswith(_REFUSED) and not (self._loading and event.startswith("ctypes.")):
            raise PermissionError(f"{event} is not allowed for MLCommons' tools")

    def _within(self, folders: str | tuple[str, ...], path: str | bytes | os.PathLike[Any]) -> None:
        real = os.path.realpath(os.fsdecode(path))
        if not f"{real}{os.sep}".startswith(folders):
            raise PermissionError(f"{real} is not accessible to MLCommons' tools")


def confine() -> bool:
    """Give up the network, and limit memory and files. Returns whether the kernel has taken away the network.

    Raises OSError or ValueError if a limit cannot be set.
    """
    library = ctypes.CDLL(None, use_errno=True)
    alone = False
    if sys.platform == "linux":
        alone = not library.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) or not library.unshare(_CLONE_NEWNET)
        library.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    for kind, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (limit, limit))
    return alone


def serve(requests: BinaryIO, answers: BinaryIO, tools: Tools) -> None:
    """Answer requests until there are no more."""
    for line in requests:
        used = resource.getrusage(resource.RUSAGE_SELF)
        seconds = int(used.ru_utime + used.ru_stime) + CPU_SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.getrlimit(resource.RLIMIT_CPU)[1]))
        try:
            answer = tools.answer(json.loads(line))
        except Exception as error:  # noqa: BLE001 - it fails in many ways on values of unexpected types
            answer = {"failed": f"{type(error).__name__}: {error}"[:MAX_CHARACTERS]}
        _send(answers, answer)


def _send(answers: BinaryIO, document: Mapping[str, Any]) -> None:
    answers.write(json.dumps(document).encode() + b"\n")
    answers.flush()


def main() -> None:
    """Serve requests. The working folder is the private folder."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the tools print, too
    logging.getLogger().setLevel(logging.CRITICAL)
    logging.getLogger().addHandler(logging.NullHandler())  # else the first message adds a handler for standard error
    alone = confine()
    try:
        tools = Tools(Guard(Path.cwd()))
    except ImportError as error:
        _send(answers, {"missing": str(error)})
        return
    _send(answers, {"rulesets": tools.rulesets(), "network": not alone})
    serve(sys.stdin.buffer, answers, tools)


if __name__ == "__main__":
    main()
