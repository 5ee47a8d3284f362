"""Checks in the formats that pipelines read: JUnit's XML, and CTRF (https://ctrf.io, version 0.0.0 of its schema)."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from podium.submissions import GateCheck
from podium.text import json_text, one_line

_SUITE = "podium gate"


def junit(checks: Sequence[GateCheck]) -> str:
    """Return a test suite. JUnit has no word for what is not decided: it is an error, as in "could not be run"."""
    failed, undecided = (sum(check.passed is value for check in checks) for value in (False, None))
    counts = {"tests": str(len(checks)), "failures": str(failed), "errors": str(undecided)}
    root = ET.Element("testsuites", counts)
    suite = ET.SubElement(root, "testsuite", {"name": _SUITE, **counts, "skipped": "0", "time": "0"})
    for check in checks:
        names = {"classname": one_line(check.benchmark), "name": one_line(check.name), "time": "0"}
        case = ET.SubElement(suite, "testcase", names)
        if check.passed:
            ET.SubElement(case, "system-out").text = one_line(check.sentence)
        else:
            kind = "error" if check.passed is None else "failure"
            ET.SubElement(case, kind, {"message": one_line(check.sentence)})
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def ctrf(checks: Sequence[GateCheck], now: float) -> str:
    """Return a CTRF report of checks that were made at `now` (unix seconds). What is not decided is "other"."""
    words = ["other" if check.passed is None else "passed" if check.passed else "failed" for check in checks]
    stamp = round(1000 * now)
    document = {
        "reportFormat": "CTRF",
        "specVersion": "0.0.0",
        "results": {
            "tool": {"name": _SUITE},
            "summary": {
                "tests": len(checks),
                **{word: words.count(word) for word in ("passed", "failed", "skipped", "pending", "other")},
                "start": stamp,
                "stop": stamp,
            },
            "tests": [
                {
                    "name": one_line(f"{check.benchmark}: {check.name}"),
                    "status": word,
                    "duration": 0,
                    "suite": [_SUITE],
                    "message": one_line(check.sentence),
                }
                for check, word in zip(checks, words, strict=True)
            ],
        },
    }
    return json_text(document, indent=2) + "\n"
