"""Every state and reason in a run's status, and what to do about it."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from podium import reconcile
from podium.api import AttemptState, ConditionType
from podium.reconcile.attempt import UNRECOVERABLE_WAITING
from podium.reconcile.tries import RETRIABLE
from tools.docs.markdown import code, plain, table

_HEAD = """# States and reasons

What stands in `status.attempts[].state` and `reason`, in `status.conditions[]` and in the Events of a BenchmarkRun.
[Debug a failed run](../how-to/debug.md) says where to look first.
"""
_ON_CONDITIONS = """The reason of `Running` is also the state of the attempt in progress. `Complete` and `Failed` each
give the other as the reason why they are not true.
"""
_ON_EVENTS = """`AttemptFailed`, `AttemptNotConverged`, `AttemptInvalid` and `AttemptAborted` tell of an attempt with
its reason, `InvalidSpec`, `ResultInvalid`, `LaunchRefused` and `AttemptFailed` of the run; and:
"""
_MODULES = ("attempt", "conditions", "decide", "tries")
_WORD = re.compile(r"[A-Z][a-z]+([A-Z][A-Za-z]*)*")
_NO_REASONS = {
    "Attempt",
    "Error",
    "True",
    "False",
    "Normal",
    "Warning",
    "Complete",
    "Failed",
    "Aborted",
} | UNRECOVERABLE_WAITING


@cache
def documented() -> Mapping[str, Mapping[str, Any]]:
    """States, and reasons by what they are of."""
    return yaml.safe_load((Path(__file__).parent / "reasons.yaml").read_text())


def used() -> frozenset[str]:
    """Every reason in the code that decides."""
    folder = Path(reconcile.__path__[0])
    trees = (ast.parse((folder / f"{module}.py").read_text()) for module in _MODULES)
    words = {node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    return frozenset(word for word in words if isinstance(word, str) and _WORD.fullmatch(word)) - _NO_REASONS


def page() -> str:
    """The page."""
    known = documented()
    conditions = [
        (code(kind), *_shown(reason))
        for kind in ConditionType
        for reason in known["conditions"].items()
        if _is_of(reason, kind)
    ]
    return "\n".join(
        [
            _HEAD,
            "## States of an attempt\n",
            table(["state", "meaning"], [(code(state), plain(known["states"][state])) for state in AttemptState]),
            "## Reasons of an attempt\n",
            table(
                ["reason", "meaning", "what to do", "tried again"],
                [(*_shown(reason), "yes" if reason[0] in RETRIABLE else "") for reason in known["attempts"].items()],
            ),
            "## Reasons of conditions\n",
            _ON_CONDITIONS,
            table(["condition", "reason", "meaning", "what to do"], conditions),
            "## Events\n",
            _ON_EVENTS,
            table(["reason", "meaning", "what to do"], map(_shown, known["events"].items())),
        ]
    )


def _shown(reason: tuple[str, Mapping[str, str]]) -> tuple[str, str, str]:
    name, said = reason
    return code(name), plain(said["means"]), plain(said["do"])


def _is_of(reason: tuple[str, Mapping[str, str]], kind: ConditionType) -> bool:
    return kind in reason[1]["of"].split(", ")
