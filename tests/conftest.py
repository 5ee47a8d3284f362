"""Every run of pytest ends with nothing left running. SIGTERM tears fixtures down as Ctrl-C does."""

from __future__ import annotations

import pytest

from tests.cluster import leftovers, lifetime


def pytest_configure(config: pytest.Config) -> None:
    lifetime.begin()


def pytest_sessionstart(session: pytest.Session) -> None:
    leftovers.remove()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """An event loop of an earlier test may have put the default handlers back."""
    lifetime.handle_signals()


def pytest_unconfigure(config: pytest.Config) -> None:
    """After the teardown of all fixtures."""
    lifetime.kill_descendants()
