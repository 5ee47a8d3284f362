"""The guarantees hold in 500 simulated clusters."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SEEDS = int(os.environ.get("PODIUM_TEST_SEEDS", "500"))


@pytest.mark.timeout(600)
def test_every_guarantee_holds_in_every_world():
    command = [sys.executable, "-m", "tests.simulation", "--seeds", str(SEEDS)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
