"""Running a command in this process."""

from __future__ import annotations

import json
import re
import unicodedata

import pytest
from typer.testing import CliRunner

from podium.cli.errors import UsageError
from podium.cli.main import app

AT_A_TERMINAL = {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "100", "NO_COLOR": None}
_STYLE = re.compile(r"\x1b\[[0-9;]*m")  # what a terminal is sent by us: colors, bold


def assert_harmless(output, *, styled=False):
    """Nothing in it that a terminal obeys, or that hides or turns text, but newlines, tabs and our own styles."""
    text = _STYLE.sub("", output) if styled else output
    bad = {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") and c not in "\n\t"}
    assert not bad, (bad, text)


@pytest.fixture
def podium_json():
    """Runs a command with --json; gives exit code and document."""

    def run(*arguments):
        done = CliRunner().invoke(app, [*map(str, arguments), "--json"])
        if isinstance(done.exception, UsageError):
            return 2, str(done.exception)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, json.loads(done.stdout)

    return run


@pytest.fixture
def podium_text():
    """Runs a command as on a terminal of 80 columns; gives exit code and text."""

    def run(*arguments):
        done = CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "80", "NO_COLOR": "1"})
        if isinstance(done.exception, UsageError):
            return 2, str(done.exception)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.stdout

    return run
