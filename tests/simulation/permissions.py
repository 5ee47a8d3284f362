"""What the chart allows the operator to ask the API server for."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.cluster.fixtures import ROOT

_CHART = ROOT / "helm/podium/templates"
_RULES = re.compile(r'define "podium\.rules" -\}\}\n(.*?)\n\{\{- end -\}\}\n\n', re.DOTALL)
_NODES = re.compile(r"^  (- apiGroups: \[\"\"\]\n    resources: \[nodes\]\n    verbs: .*)$", re.MULTILINE)
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_BESIDE = {("leases", verb) for verb in ("get", "update", "create")}  # the Role of the Lease


@functools.cache
def allowed() -> frozenset[tuple[str, str]]:
    """Return each resource with a verb that the rules of the chart allow, those behind a condition included."""
    helpers, rbac = (_CHART / "_helpers.tpl").read_text(), (_CHART / "rbac.yaml").read_text()
    [rules], [nodes] = _RULES.findall(helpers), _NODES.findall(rbac)
    text = re.sub(r"(?m)^\{\{.*\n", "", f"{rules}\n") + re.sub(r"(?m)^  ", "", nodes)
    return frozenset(_BESIDE | set(_pairs(yaml.safe_load(text))))


def _pairs(rules: list[dict[str, list[str]]]) -> Iterator[tuple[str, str]]:
    for rule in rules:
        yield from ((resource, verb) for resource in rule["resources"] for verb in rule["verbs"])


def asked(verb: str, path: str) -> tuple[str, str] | None:
    """Return the resource and the verb of a request; None for a question about the API itself."""
    parts = urlsplit(path).path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    if parts[:1] == ["namespaces"] and len(parts) > 2:
        parts = parts[2:]
    if not parts:
        return None
    resource, name, part = (*parts, "", "")[:3]
    if verb == "GET" and not name:
        return resource, "watch" if parse_qs(urlsplit(path).query).get("watch") else "list"
    return (f"{resource}/{part}" if part else resource), _VERBS.get(verb, "get")
