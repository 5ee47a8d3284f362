"""What to do about a line that fails one of MLCommons' tests: their messages quote the test, and say nothing else."""

from __future__ import annotations

import re

# Tests of the clock's lines compare several lines with each other
_OF_CLOCK = {
    "cache_clear": "clear the caches before init_start, and log cache_clear with the value true",
    "init_start": "log it before init_stop and run_start",
    "init_stop": "log it once, after init_start and before run_start, within the time that the round allows",
    "run_start": "log it after init_stop",
    "run_stop": "log it after run_start and the last eval_stop, with the status success in its metadata",
    "epoch_start": "log it after run_start and the epoch_stop before it; count epoch_num from 1, without gaps",
    "epoch_stop": "log it once for each epoch_start, with the same epoch_num",
    "block_start": "log it after run_start and the block_stop before it, with the first_epoch_num and the epoch_count",
    "block_stop": "log it once for each block_start, after the evaluation, with the same first_epoch_num",
    "eval_start": "log it after the start of the epoch and the result of the evaluation before it; epoch_num must rise",
    "eval_stop": "log it once for each eval_start, with the same epoch_num",
    "eval_accuracy": "log it once for each eval_start, with the same epoch_num",
}
_IN_METADATA = re.compile(r"'(\w+)' in v\['metadata'\]")
_EQUAL = re.compile(r"v\['value'\] == ([^=\[\]()]+)")
_ONE_OF = re.compile(r"v\['value'\] in \[([^\[\]]+)\]")
_NOT_EMPTY = re.compile(r"v\['value'\] != ''")
_IS_VALUE = re.compile(r"\s*v\['value'\]\s*")


def remedy_for_line(key: str, test: str, ruleset: str) -> str:
    """Return what to log instead of a line that fails a test (a Python expression)."""
    return f"{_instead(key, test.strip())} (MLCommons' rules for {ruleset})"


def remedy_for_result(ruleset: str) -> str:
    """Return what to do if no line of a log passes a test that one must pass."""
    return f"train until it passes, and log each evaluation (MLCommons' rules for {ruleset})"


def remedy_for_type(ruleset: str) -> str:
    """Return what to do about a line that makes a test crash."""
    return (
        "log numbers as numbers, and in the metadata what the rules read there, such as epoch_num and status "
        f"(MLCommons' rules for {ruleset})"
    )


def remedy_for_log(ruleset: str) -> str:
    """Return what to do if a test fails at the end of the log, which counts its lines."""
    return f"log every line that this test counts, as often as it says (MLCommons' rules for {ruleset})"


def _instead(key: str, test: str) -> str:
    if "if " not in test and (fields := _IN_METADATA.findall(test)):
        return f"add {' or '.join(fields)} to its metadata"
    if key in _OF_CLOCK:
        return _OF_CLOCK[key]
    if _NOT_EMPTY.fullmatch(test):
        return "log a value that is not empty"
    if match := _ONE_OF.fullmatch(test):
        return f"log one of {match[1]}"
    if (match := _EQUAL.fullmatch(test)) and not _IS_VALUE.match(match[1]):
        return f"log {match[1]}"
    return "log a value that passes this test"
