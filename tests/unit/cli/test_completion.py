"""What the shells of users are told: completion, and help by its short name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from podium.cli.commands import load_commands

PROGRAM = Path(sys.executable).parent / "podium"


def run(*words, **environment):
    done = subprocess.run(
        [PROGRAM, *words], env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout + done.stderr


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
@pytest.mark.parametrize(
    ("typed", "offered"), [("va", {"validate", "variance"}), ("round s", {"show"}), ("score --js", {"--json"})]
)
def test_bash_completes(typed, offered):
    words = f"podium {typed}".split()
    script = (
        f'eval "$({PROGRAM} --show-completion bash)"; COMP_WORDS=({" ".join(words)}); COMP_CWORD={len(words) - 1}; '
        f'_podium_completion {PROGRAM}; printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert set(done.stdout.split()) == offered, done.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_a_script(shell):
    assert "podium" in run("--show-completion", shell)
    asked = {"_TYPER_COMPLETE_ARGS": "podium rep", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    said = run(_PODIUM_COMPLETE=f"complete_{shell}", **asked)
    assert {"report", "replay"} <= {word.strip('"(:') for word in said.replace(":", " ").split()}
    assert "Write an HTML report on a result." in said  # not cut off


def test_help_has_a_short_name():
    assert run("-h") == run("--help")
    for name in ("score", "round"):
        assert run(name, "-h") == run(name, "--help")
        assert name in load_commands()
