"""What the operator logs: part of the timeline, and where errors of its own show."""

from __future__ import annotations

import logging
import traceback

import aiohttp

from podium.kube import ApiError
from podium.stores import StoreError
from tests.simulation.world import World

_EXPECTED = (ApiError, StoreError, aiohttp.ClientError, TimeoutError, OSError)


class Stumbles(logging.Handler):
    """Receives the operator's log while a world runs."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.INFO if world.verbose else logging.ERROR)
        self._world = world
        self._before: tuple[int, list[logging.Handler], bool] = (0, [], True)

    def emit(self, record: logging.LogRecord) -> None:
        who = self._world.running.name if self._world.running else "?"
        self._world.say(who, f"{record.levelname}: {record.getMessage()}")
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not isinstance(error, _EXPECTED):
            self.it_never_stumbles(error)

    def it_never_stumbles(self, error: BaseException) -> None:
        """No work fails but for what the API server or the store answer."""
        place = traceback.extract_tb(error.__traceback__)[-1]
        self._world.breaks("it_never_stumbles", f"{error!r} in {place.filename}:{place.lineno}")

    def __enter__(self) -> None:
        logger = logging.getLogger("podium")
        self._before = (logger.level, logger.handlers, logger.propagate)
        logger.handlers, logger.propagate = [self], False
        logger.setLevel(self.level)

    def __exit__(self, *_: object) -> None:
        logger = logging.getLogger("podium")
        logger.level, logger.handlers, logger.propagate = self._before
        logger.setLevel(logger.level)
