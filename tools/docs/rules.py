"""The id of every rule that a finding can name, and what it means."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

import podium
from podium.rounds import load_rounds
from tools.docs.markdown import code, plain, table

_HEAD = """# Rules

Every finding names its rule, where it was found, and what to do. `podium validate`, `check`, `score`, `package` and
`review` print them; with `--json` they are fields. The ids stay the same, so that scripts can rely on them; <...>
stands for what varies.
"""
_CALLS = {"Finding", "Breach", "_once"}  # whose first argument is an id
_OWN = re.compile(r"(log|score|review|package|report|compare|borrow|history|mlperf)(\.([a-z_]+|<>))+")
_NOT_IDS = {
    "report.html",  # a file
    "score.benchmark",  # the beginning of an id
    # of mlperf.<key>.never and mlperf.<key>
    *("mlperf.eval_accuracy.never", "mlperf.submission_benchmark", "mlperf.submission_division", "mlperf.opt_name"),
}  # a file, a beginning, one of mlperf.<key>.never


def documented() -> Mapping[str, Mapping[str, str]]:
    """Meaning by id by heading."""
    return yaml.safe_load((Path(__file__).parent / "rules.yaml").read_text())


def used() -> frozenset[str]:
    """Every id in the code; ``<>`` for what is put in when the program runs."""
    files = Path(podium.__path__[0]).rglob("*.py")
    return frozenset(name for file in files for name in _ids(ast.parse(file.read_text()))) - _NOT_IDS


def page() -> str:
    """The page."""
    parts = [_HEAD.replace("<...>", plain("<...>"))]
    for heading, rules in documented().items():
        parts += [
            f"## {heading}\n",
            table(["rule", "meaning"], [(code(id_), plain(text)) for id_, text in rules.items()]),
        ]
    parts.append("## Hyperparameters of the closed division\n")
    parts.append("Allowed values, references and sources are in the [tables of the rounds](rounds.md).\n")
    rows = [
        (code(rule.id), code(key), f"{round_.name} {name}")
        for round_ in load_rounds().values()
        for name, benchmark in round_.benchmarks.items()
        for key, rule in benchmark.ruled.items()
    ]
    parts.append(table(["rule", "hyperparameter", "of"], rows))
    return "\n".join(parts)


def _ids(tree: ast.AST) -> Iterator[str]:
    """First arguments of `_CALLS`, and texts that look like an id."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name(node.func) in _CALLS and node.args:
            yield from filter(None, [_text(node.args[0])])
        elif _OWN.fullmatch(text := _text(node)):
            yield text


def _name(function: ast.expr) -> str:
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def _text(node: ast.AST) -> str:
    """A text as it is written, with ``<>`` for each placeholder; nothing for anything else."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or "<>" for part in node.values)
    return ""
