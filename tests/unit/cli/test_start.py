"""What the program loads before it does anything: each command its own modules, and the operator none of the others'."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import pytest
import yaml

from podium.cli.commands import load_commands

COMMANDS = load_commands()


def imported(text):
    """The modules in the output of ``python -X importtime``."""
    return set(re.findall(r"^import time:.*\| +(\S+)$", text, re.MULTILINE))


def of(modules, *packages):
    return {module for module in modules if module.startswith(tuple(packages))}


def test_help_lists_every_command_with_its_summary(podium_text):
    code, text = podium_text("--help")
    listed = dict(re.findall(r"^  (\w+) {2,}(.+)$", text.partition("Commands:")[2], re.MULTILINE))
    assert (code, list(listed)) == (0, list(COMMANDS))
    assert listed == {name: command.short_help for name, command in COMMANDS.items()}, "none is cut off"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_summary_is_the_first_line_of_the_commands_own_help(name):
    assert COMMANDS[name].short_help == (COMMANDS[name].help or "").partition("\n")[0]


def test_an_unknown_command_is_a_usage_error_with_a_suggestion(podium_text):
    assert podium_text("wacth")[0] == 2


def test_help_loads_no_command():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "podium", "--help"], capture_output=True, text=True, check=True
    )
    modules = imported(done.stderr)
    assert "podium.cli.commands" in modules
    assert of(modules, "podium.api", "podium.rounds", "pydantic", "yaml", "rich", "kubernetes", "boto3") == set()


def test_the_operator_loads_nothing_of_what_people_do_with_results(tmp_path):
    """Up to the first call to an API server that is out of reach."""
    cluster = {"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    config = {
        "clusters": [cluster],
        "contexts": [context],
        "users": [{"name": "u", "user": {}}],
        "current-context": "c",
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **config}))
    command = [sys.executable, "-X", "importtime", "-m", "podium", "operator", "--results-url", f"file://{tmp_path}/r"]
    output = tmp_path / "output"
    with output.open("w") as file:
        operator = subprocess.Popen(
            [*command, "--kubeconfig", tmp_path / "kubeconfig", "--listen", "127.0.0.1:0"],
            stdout=file,
            stderr=file,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        try:
            deadline = time.monotonic() + 60
            while "waiting until BenchmarkRuns can be listed" not in output.read_text():
                assert operator.poll() is None, output.read_text()[-2000:]
                assert time.monotonic() < deadline
                time.sleep(0.1)
            operator.send_signal(signal.SIGTERM)
            operator.wait(20)
        finally:
            operator.kill()
    modules = imported(output.read_text())
    assert {"podium.controller.main", "kopf"} <= modules
    assert of(modules, "podium.submissions", "podium.mlcommons", "podium.report", "mlperf_logging", "jinja2") == set()
    assert of(modules, "securesystemslib", "in_toto_attestation") == set()  # 40 MB, for those who sign
