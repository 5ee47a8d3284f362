"""Log streams that run until their test ends, and do not wait long."""

from __future__ import annotations

import asyncio

import pytest

from podium.kube import log_stream


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(log_stream, "_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(log_stream, "_AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(log_stream, "_LINGER_SECONDS", 0.05)


@pytest.fixture
async def running():
    tasks = []
    yield lambda stream: tasks.append(asyncio.create_task(stream.run()))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
