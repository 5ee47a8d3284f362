"""The operator's log: a JSON object a line."""

from __future__ import annotations

import json
import logging
import sys

from podium.cli.logging_setup import JsonFormatter


def test_a_line_is_one_object_with_its_time_in_utc():
    record = logging.LogRecord("podium.kube", logging.WARNING, "informer.py", 7, "list of %s failed", ("pods",), None)
    record.created = 1_700_000_000.5
    assert json.loads(JsonFormatter().format(record)) == {
        "time": "2023-11-14T22:13:20.500Z",
        "level": "warning",
        "logger": "podium.kube",
        "message": "list of pods failed",
    }


def test_an_exception_stays_on_the_line():
    try:
        raise ValueError("no\nsuch pod")
    except ValueError:
        record = logging.LogRecord("podium", logging.ERROR, "x.py", 1, "failed", (), sys.exc_info())
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert "ValueError: no\nsuch pod" in json.loads(line)["exception"]
