"""Read a dashboard's JSON without Grafana: its panels, and its queries with the variables replaced."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

JSON = Path(__file__).parents[1] / "podium/dashboards"


class Query(NamedTuple):
    """One target of a panel."""

    expression: str
    legend: str
    instant: bool


def panels(name: str) -> list[dict[str, Any]]:
    """The committed panels of a dashboard, rows included."""
    model: dict[str, Any] = json.loads((JSON / f"{name}.json").read_text())
    return list(model["panels"])


def queries(panel: Mapping[str, Any], variables: Mapping[str, str]) -> Iterator[Query]:
    """The queries of a panel, with `variables` such as ``run`` or ``__range`` in place of ``$run``, ``$__range``."""
    for target in panel.get("targets", ()):
        yield Query(_with(variables, target["expr"]), target.get("legendFormat", ""), bool(target.get("instant")))


def _with(variables: Mapping[str, str], expression: str) -> str:
    """Longer names first. A ``$1`` belongs to a label_replace and stays."""
    names = "|".join(sorted(map(re.escape, variables), key=len, reverse=True))
    text = re.sub(rf"\$({names})\b", lambda found: variables[found[1]], expression)
    left = re.search(r"\$[A-Za-z_]\w*", text)
    if left:
        raise ValueError(f"no value for {left[0]} in {expression}")
    return text


def named(legend: str, labels: Mapping[str, str]) -> str:
    """The legend of one series; empty when the query has none."""
    return re.sub(r"{{\s*(\w+)\s*}}", lambda found: labels.get(found[1], ""), legend)
