"""What holds for all unit tests."""

from __future__ import annotations

import sys

import pytest
from hypothesis import HealthCheck, settings

from podium.mlcommons import process

# How fast a machine is says nothing about the code: beside other work, examples of microseconds took their time
settings.register_profile("podium", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("podium")


@pytest.fixture
def tools_of(monkeypatch):
    """Starts another program in place of the process of MLCommons' tools; ends it after the test."""

    def run(*command):
        process.stop()
        monkeypatch.setattr(process, "COMMAND", command)

    yield run
    process.stop()


@pytest.fixture
def without_mlcommons(tools_of):
    """As on a machine without mlperf_logging: the process starts without installed packages."""
    tools_of(sys.executable, "-I", "-S", process.COMMAND[-1])
