"""Generates the chart's values.schema.json and README.md from the comments in values.yaml, and copies the CRD.

The head of values.yaml explains the comments. `make generate` runs this.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parent / "podium"
CRDS = Path(__file__).parents[1] / "crds"
_TYPES = {"bool": "boolean", "int": "integer", "float": "number", "str": "string", "map": "object", "seq": "array"}


class ValuesError(Exception):
    """values.yaml does not follow the rules at its head; the text names the line and the fix."""


@dataclass(frozen=True, slots=True)
class Value:
    """One key of values.yaml with what its comments say."""

    path: tuple[str, ...]
    default: Any
    type: str
    section: str  # title of the section that starts here; empty otherwise
    description: str
    schema: Mapping[str, Any]
    children: tuple[Value, ...]


def read_values(text: str) -> tuple[Value, ...]:
    """The keys of values.yaml. Raises ValuesError."""
    return tuple(_children(yaml.compose(text, Loader=yaml.SafeLoader), text.splitlines(), ()))


def _children(node: yaml.Node, lines: list[str], path: tuple[str, ...]) -> Iterator[Value]:
    for key, value in node.value:
        section, description, schema = _comments(lines, key.start_mark.line)
        here = (*path, key.value)
        default = yaml.SafeLoader("").construct_document(value)
        named = isinstance(value, yaml.MappingNode) and value.value and not schema
        if not named and not description:
            raise ValuesError(f"values.yaml:{key.start_mark.line + 1}: {'.'.join(here)} needs a comment `# -- ...`")
        if default in ({}, []) and not schema:
            raise ValuesError(
                f"values.yaml:{key.start_mark.line + 1}: {'.'.join(here)} needs `# @schema` for its items"
            )
        yield Value(
            path=here,
            default=default,
            type=_TYPES[value.tag.rpartition(":")[2]],
            section=section,
            description=description,
            schema=schema,
            children=tuple(_children(value, lines, here)) if named else (),
        )


def _comments(lines: list[str], line: int) -> tuple[str, str, dict[str, Any]]:
    """Section, description and schema in the comments right above `line`; the section may be one paragraph higher."""
    first = line
    while first and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    words = [text.strip().removeprefix("#").removeprefix(" ") for text in lines[first:line]]
    start = next((i for i, text in enumerate(words) if text.startswith("-- ")), len(words))
    said = [text for text in words[start:] if not text.startswith("@")]
    schema: dict[str, Any] = {}
    for text in words:
        if text.startswith("@schema "):
            schema |= yaml.safe_load(text.removeprefix("@schema "))
    above = next((text for text in reversed(lines[:first]) if text.strip()), "")
    titles = [text for text in (above.removeprefix("# "), *words) if text.startswith("@section ")]
    section = titles[-1].removeprefix("@section ") if titles else ""
    return section, " ".join(said).removeprefix("-- "), schema


def schema(values: tuple[Value, ...]) -> dict[str, Any]:
    """JSON schema, draft 7, which Helm 3 and 4 read: unknown keys are rejected."""
    root = _object(values)
    root["properties"]["global"] = {"type": "object", "description": "Set by a parent chart."}
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of the chart podium", **root}


def _object(values: tuple[Value, ...]) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {value.path[-1]: _schema_of(value) for value in values},
    }


def _schema_of(value: Value) -> dict[str, Any]:
    about = {"description": value.description} if value.description else {}
    if value.children:
        return {**about, **_object(value.children)}
    return {**about, "type": value.type, **value.schema, "default": value.default}


def readme(values: tuple[Value, ...], template: str) -> str:
    """The template with its marker replaced by the tables of values."""
    return template.replace("<!-- values -->\n", "\n".join(_tables(values)) + "\n")


def _tables(values: tuple[Value, ...]) -> Iterator[str]:
    for value in values:
        if value.section:
            yield from ("", f"### {value.section}", "", "| key | default | what it is |", "|---|---|---|")
        if value.children:
            yield from _tables(value.children)
        else:
            default = json.dumps(value.default, ensure_ascii=False).replace("|", "\\|")
            allowed = ", ".join(f"`{choice}`" for choice in value.schema.get("enum", ()) if choice)
            about = f"{value.description} One of {allowed}." if allowed else value.description
            yield f"| `{'.'.join(value.path)}` | `{default}` | {about} |"


def generated() -> dict[Path, str]:
    """The text of every generated file of the chart."""
    values = read_values((CHART / "values.yaml").read_text())
    tables = readme(values, (CHART / "README.md.tmpl").read_text())
    return {
        CHART / "values.schema.json": json.dumps(schema(values), indent=2, ensure_ascii=False) + "\n",
        CHART / "README.md": re.sub(r"\n{3,}", "\n\n", tables),
        **{CHART / "files" / crd.name: crd.read_text() for crd in sorted(CRDS.glob("podium.dev_*.yaml"))},
    }


if __name__ == "__main__":
    for file, text in generated().items():
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
