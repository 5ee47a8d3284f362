"""Structured logs: one JSON object per line, or text for a person at a terminal."""

from __future__ import annotations

import logging

from podium.api import rfc3339
from podium.text import json_text, printable


class JsonFormatter(logging.Formatter):
    """Formats a record as JSON: time, level, logger, message, and the exception if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": rfc3339(record.created, milliseconds=True),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json_text(entry)


class TextFormatter(logging.Formatter):
    """Formats a record for a person: without control characters; tracebacks keep their line breaks."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def configure_logging(level: str, style: str) -> None:
    """Set up the root logger. kopf logs only warnings and errors."""
    handler = logging.StreamHandler()
    text = TextFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter() if style == "json" else text)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("kopf").setLevel(max(logging.WARNING, logging.getLogger().level))
