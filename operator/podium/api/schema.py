"""Converts pydantic's JSON schema to the structural schema that a CustomResourceDefinition needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from podium.api.spec import GROUP, VERSION

# Keywords that are copied as they are; the others are converted below or, like "title", dropped.
_KEPT = ("type", "description", "enum", "pattern", "minLength", "maxLength", "minItems", "maxItems", "minProperties",
         "maxProperties", "minimum", "maximum", "format", "default")  # fmt: skip


def definition(
    kind: str, plural: str, short: str, columns: Sequence[Mapping[str, Any]], schema: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the CustomResourceDefinition of a kind: its names, the columns of ``kubectl get``, and its schema."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}", "labels": {"app.kubernetes.io/part-of": "podium"}},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [short],
                "categories": ["all"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": columns,
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def object_schema(about: str, spec: Mapping[str, Any], status: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a kind from those of its spec and its status, which has conditions."""
    status["properties"]["conditions"] |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    return {
        "type": "object",
        "description": about,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status,
        },
    }


def structural(model: type[BaseModel]) -> dict[str, Any]:
    """Return the OpenAPI v3 schema of `model` with references inlined and unions folded, as Kubernetes requires."""
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return _convert(schema, schema.get("$defs", {}))


def _convert(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in node:
        referenced = definitions[node["$ref"].removeprefix("#/$defs/")]
        node = {**referenced, **{key: value for key, value in node.items() if key != "$ref"}}
    if "anyOf" in node:
        node = _fold_union(node)
        if "$ref" in node:
            return _convert(node, definitions)
    result = {key: node[key] for key in _KEPT if key in node and not (key == "default" and _empty(node[key]))}
    if "const" in node:
        result["enum"] = [node["const"]]
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if exclusive in node:
            result |= {bound: node[exclusive], exclusive: True}
    if "items" in node:
        result["items"] = _convert(node["items"], definitions)
    if "properties" in node:
        result["properties"] = {key: _convert(value, definitions) for key, value in node["properties"].items()}
        if node.get("required"):
            result["required"] = sorted(node["required"])
    elif node.get("type") == "object":
        result |= _map(node, definitions)
    if node.get("x-kubernetes-int-or-string"):
        result.pop("type", None)
        result["x-kubernetes-int-or-string"] = True
    if isinstance(result.get("default"), dict):
        result["default"] = {key: value for key, value in result["default"].items() if not _empty(value)}
    return result


def _fold_union(node: dict[str, Any]) -> dict[str, Any]:
    """Turn ``X | None`` into an optional X, and ``str | int`` into an int-or-string."""
    options = [option for option in node["anyOf"] if option.get("type") != "null"]
    rest = {key: value for key, value in node.items() if key != "anyOf"}
    if len(options) == 1:
        return {**options[0], **rest}
    if {option.get("type") for option in options} == {"string", "integer"}:
        text = next(option for option in options if option["type"] == "string")
        return {**text, **rest, "x-kubernetes-int-or-string": True}
    raise TypeError(f"no structural schema for the union {node['anyOf']}")


def _map(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    values = node.get("additionalProperties")
    if isinstance(values, dict) and values:
        return {"additionalProperties": _convert(values, definitions)}
    if "patternProperties" in node or "propertyNames" in node:
        raise TypeError(f"a map with constraints on its keys needs typed values: {node}")
    return {"x-kubernetes-preserve-unknown-fields": True}


def _empty(value: object) -> bool:
    return value is None or value in ([], {}, ())
