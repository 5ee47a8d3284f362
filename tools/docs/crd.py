"""The page about BenchmarkRuns: every field, from the schema that the API server validates."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from podium.api.crd import crd
from podium.api.sweep_crd import crd as sweep_crd
from tools.docs.markdown import code, plain, table

Schema = Mapping[str, Any]
_HEAD = """# BenchmarkRun

All fields, as the API server validates them; `kubectl explain benchmarkrun.spec` shows the same. After creation only
`suspend` and `ttlSecondsAfterFinished` can be changed. Unknown fields are rejected.
"""
_SWEEP_HEAD = """# BenchmarkSweep

One benchmark on many nodes, node counts or variants, judged against each other: see
[Accept new GPU nodes](../how-to/accept-nodes.md). Unknown fields are rejected, except in `template`: the operator
checks that, and the API server checks each run that is made of it.
"""
_LIMITS = {
    "minimum": "at least",
    "maximum": "at most",
    "minLength": "characters at least",
    "maxLength": "characters at most",
    "maxItems": "items at most",
    "maxProperties": "entries at most",
    "pattern": "matches",
}


def page() -> str:
    """The page about BenchmarkRuns."""
    return _page(crd(), _HEAD, "The requested run.")


def sweep_page() -> str:
    """The page about BenchmarkSweeps."""
    return _page(sweep_crd(), _SWEEP_HEAD, "What to compare, and with which benchmark.")


def _page(definition: Mapping[str, Any], head: str, about_spec: str) -> str:
    version = definition["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]["properties"]
    parts = [head]
    for name, about in (("spec", about_spec), ("status", "The state that the operator reports.")):
        parts += [f"## {name}\n", f"{about}\n", *_sections(name, schema[name])]
    parts += [
        "## Rules across fields\n",
        "`kubectl apply` rejects an object that breaks a rule, with this message.\n",
        "\n".join(f"- {plain(message)}" for message in _messages(version["schema"]["openAPIV3Schema"])) + "\n",
        "## Columns of kubectl get\n",
        table(
            ["column", "from", "shown"],
            [
                (c["name"], code(c["jsonPath"]), "with `-o wide`" if c.get("priority") else "always")
                for c in version["additionalPrinterColumns"]
            ],
        ),
    ]
    return "\n".join(parts)


def _sections(path: str, schema: Schema) -> Iterator[str]:
    """A table of the fields of `schema`, then one for each object in it."""
    required = schema.get("required", ())
    yield table(
        ["field", "type", "default", "meaning"],
        [_field(name, field, name in required) for name, field in schema["properties"].items()],
    )
    for name, field in schema["properties"].items():
        inner = field.get("items", field)
        if "properties" in inner:
            heading = f"{path}.{name}"
            yield f"### {heading}{'[]' if 'items' in field else ''} {{#{heading}}}\n"
            yield from _sections(heading, inner)


def _field(name: str, field: Schema, required: bool) -> tuple[str, str, str, str]:
    default = "**required**" if required else code(_shown(field["default"])) if "default" in field else ""
    about = plain(field.get("description", "")).strip()
    limits = "; ".join(_limits(field.get("items", field) if field.get("type") == "array" else field))
    return code(name), _type(field), default, " ".join(filter(None, (about, f"({limits})" if limits else "")))


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _type(field: Schema) -> str:
    if field.get("x-kubernetes-int-or-string"):
        return "integer or string"
    if field.get("type") == "array":
        return f"list of {_type(field['items'])}s"
    if "additionalProperties" in field:
        return f"map to {_type(field['additionalProperties'])}s"
    return str(field.get("type", "any"))


def _limits(field: Schema) -> Iterator[str]:
    if "enum" in field:
        yield "one of " + ", ".join(code(choice) for choice in field["enum"])
    for key, words in _LIMITS.items():
        if key in field:
            value = code(field[key]) if key == "pattern" else str(field[key])
            yield f"{value} {words}" if words.endswith(("least", "most")) and " " in words else f"{words} {value}"


def _messages(schema: Schema) -> Iterator[str]:
    """The message of every CEL rule, outermost first."""
    for rule in schema.get("x-kubernetes-validations", ()):
        yield rule["message"]
    for inner in (*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")):
        if isinstance(inner, Mapping):
            yield from _messages(inner)
