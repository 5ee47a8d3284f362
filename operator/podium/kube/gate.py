"""Limits how much is done at once, without letting what hangs hold up the rest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Gate:
    """Lets `places` callers in at once, in order. Whoever has waited for `seconds` goes in all the same."""

    def __init__(self, places: int, seconds: float) -> None:
        self._places = asyncio.Semaphore(places)
        self._seconds = seconds

    @asynccontextmanager
    async def entered(self) -> AsyncIterator[None]:
        """Wait for a place, and keep it until the end of the block."""
        try:
            async with asyncio.timeout(self._seconds):
                await self._places.acquire()
        except TimeoutError:
            yield
            return
        try:
            yield
        finally:
            self._places.release()
