"""MLCommons' own package checker on a copy, with its defects mended.

It ends with code 0 whatever it finds, writes scaling.json into the results and its log into the current folder, and
reads the logs again with parsers of its own: it gets only logs that Podium has checked before.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from podium.mlcommons import official
from podium.rules import Finding

_TIMEOUT_SECONDS = 900
_SUCCESS = "PACKAGE CHECKER FOUND NO ERRORS"
_ERROR = re.compile(r"^(?:ERROR|CRITICAL) - *(.+)$", re.MULTILINE)


def package_findings(files: Mapping[str, bytes], org: str, round_: str) -> tuple[Finding, ...]:
    """What the checker says of a package; nothing for v0.6, whose packages it cannot read.

    Raises MissingCheckerError.
    """
    checker = official(round_)
    if checker is None or round_ == "v0.6":
        return ()
    with tempfile.TemporaryDirectory(prefix="podium-package-") as folder:
        for path, content in files.items():
            file = Path(folder, path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        command = [sys.executable, "-m", "mlperf_logging.package_checker", org, "training", checker.ruleset]
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, errors="replace", check=False,
                timeout=_TIMEOUT_SECONDS,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            message = f"MLCommons' package checker did not end within {_TIMEOUT_SECONDS} s"
            return (Finding("package.official", org, message, remedy="run it by hand to see where it stays"),)
    output = done.stdout + done.stderr
    if done.returncode == 0 and _SUCCESS in output:
        return ()
    said = _ERROR.findall(output) or output.strip().splitlines()[-1:] or ["it said nothing"]
    return tuple(Finding("package.official", org, " ".join(line.split())) for line in said)
