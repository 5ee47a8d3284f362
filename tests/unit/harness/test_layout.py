"""What CONTRIBUTING and the architecture page say of the code, measured on every file."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.cluster.fixtures import ROOT

FOLDERS = ("operator", "benchmarks", "helm", "images", "tests", "tools")
LONGEST_FILE, LONGEST_FUNCTION = 400, 60


def too_long(name: str, source: str) -> list[str]:
    """The file, and each of its functions, that has more lines than a reader can hold."""
    found = [name] if len(source.splitlines()) > LONGEST_FILE else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            if node.end_lineno - node.lineno >= LONGEST_FUNCTION:
                found.append(f"{name}: {node.name}")
    return found


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_file_and_no_function_is_too_long(folder: str) -> None:
    listed = subprocess.run(
        ["git", "ls-files", f"{folder}/*.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    files = listed.stdout.split() or [str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob("*.py")]
    assert files
    assert [
        each for file in files if (ROOT / file).exists() for each in too_long(file, (ROOT / file).read_text())
    ] == []


def test_a_long_one_is_found() -> None:
    body = "    pass\n" * (LONGEST_FUNCTION - 1)
    assert too_long("a.py", f"async def f():\n{body}") == []
    assert too_long("a.py", f"async def f():\n{body}    pass\n") == ["a.py: f"]
    assert too_long("a.py", "x = 1\n" * LONGEST_FILE) == []
    assert too_long("a.py", "x = 1\n" * (LONGEST_FILE + 1)) == ["a.py"]


def test_the_architecture_page_has_the_layers_that_are_checked() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    checked = [{*re.findall(r"\w+", layer)} for layer in next(c for c in contracts if c["type"] == "layers")["layers"]]
    rows = re.findall(r"^\| (\d+) \| ([^|]*) \|", Path(ROOT / "docs/architecture.md").read_text(), re.MULTILINE)
    assert [{*re.findall(r"\w+", packages)} for _, packages in rows] == checked
    assert [int(number) for number, _ in rows] == list(range(len(checked), 0, -1))
