"""Every field of what is known of a run is written in one module."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

from podium.controller import state

FOLDER = Path(state.__file__).parent
WRITERS = {
    "LogState": "logs",
    "OpenLog": "logs",
    "UploadState": "uploads",
    "ReportState": "status_writer",
    "LaunchState": "actions",
    "RunState": "reconciler",
    "Observation": "observation",
}
CHANGING = {"add", "append", "clear", "discard", "extend", "insert", "pop", "popitem", "remove", "setdefault", "update"}
PARTS = ("observation", "logs", "uploads", "report", "launch")


def fields():
    """The fields of each part."""
    tree = {path.stem: ast.parse(path.read_text()) for path in FOLDER.glob("*.py")}
    found = {}
    for node in tree["state"].body:
        if isinstance(node, ast.ClassDef):
            found[node.name] = {item.target.id for item in node.body if isinstance(item, ast.AnnAssign)}
    found["Observation"] = {"jobs", "containers", "nodes"}
    return found


def written(tree):
    """The attributes that a module assigns, deletes or changes in place: (what it is an attribute of, its name)."""

    def attributes(target):
        if isinstance(target, ast.Tuple | ast.List):
            for element in target.elts:
                yield from attributes(element)
        while isinstance(target, ast.Subscript | ast.Starred):
            target = target.value
        if isinstance(target, ast.Attribute):
            yield ast.unparse(target.value).rpartition(".")[2], target.attr

    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=targets) | ast.Delete(targets=targets):
                for target in targets:
                    yield from attributes(target)
            case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
                yield from attributes(target)
            case ast.Call(func=ast.Attribute(value=changed, attr=method)) if method in CHANGING:
                yield from attributes(changed)


def foreign_writes(modules):
    """(module, field) of every write outside the module that owns the field."""
    owners = defaultdict(set)
    for part, names in fields().items():
        for name in names:
            owners[name].add(WRITERS[part])
    wrong = set()
    for module, source in modules.items():
        for holder, name in written(ast.parse(source)):
            private = holder == "self" and module not in {"state", "reconciler"}  # a field of the component itself
            if name in owners and module not in owners[name] and not private:
                wrong.add((module, name))
    return wrong


MODULES = {path.stem: path.read_text() for path in FOLDER.glob("*.py")}


def test_every_part_has_a_writer():
    assert set(fields()) == set(WRITERS)
    assert {"run", "goal", "jobs_known", "gone", *PARTS} == fields()["RunState"]


def test_no_second_module_writes_a_field():
    assert foreign_writes(MODULES) == set()


def test_a_second_writer_would_be_found():
    for line, name in (
        ("state.run = None", "run"),
        ("state.uploads.stored.add(1)", "stored"),
        ("del state.logs.open[1]", "open"),
        ("state.launch.refusals += 1", "refusals"),
        ("a, state.report.written = 1, {}", "written"),
        ("state.observation.containers[1]['pod'] = 2", "containers"),
    ):
        assert foreign_writes({**MODULES, "pods": f"{MODULES['pods']}\n{line}\n"}) == {("pods", name)}


def test_every_field_has_its_writer():
    """A field that nobody writes has no place in the state."""
    for part, names in fields().items():
        if part != "RunState":
            ours = {name for _, name in written(ast.parse(MODULES[WRITERS[part]]))}
            assert names - ours - {"inherited", "buffer", "stream", "task"} == set(), (
                part
            )  # those are given at the start
