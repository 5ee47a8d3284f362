"""Tests that mostly wait: those of a module start together, and each reports its own result."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest


class Scenario(threading.Thread):
    """A test that runs beside others; `result` waits for its end. An interrupted test run does not wait for it."""

    def __init__(self, act: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._act = act
        self._error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self._act()
        except Exception as error:  # noqa: BLE001 - `result` raises it
            self._error = error

    def result(self) -> None:
        self.join()
        if self._error:
            raise self._error


def selected(request: pytest.FixtureRequest, parameter: str) -> set[Any]:
    """The values of a parameter in the module's tests that this test run includes."""
    tests = [item for item in request.session.items if isinstance(item, pytest.Function)]
    return {test.callspec.params[parameter] for test in tests if test.module is request.module}
