"""Blocks of code in Markdown."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.fixtures import ROOT

DOCS = ROOT / "docs"
_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=indent)```", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
_TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, its title, the section it stands in."""

    language: str
    title: str
    section: str
    text: str

    @property
    def commands(self) -> list[str]:
        """What follows each `$ `, with its continuation lines; other lines are output."""
        found: list[str] = []
        continues = False
        for line in self.text.splitlines():
            if continues:
                found[-1] += "\n" + line
            elif line.startswith("$ "):
                found.append(line.removeprefix("$ "))
            continues = line.endswith("\\") and bool(found)
        return found


def blocks(page: Path, language: str) -> Iterator[Block]:
    """The blocks of a page in that language, in their order."""
    text = page.read_text()
    headings = [(match.start(), match[1]) for match in _HEADING.finditer(text)]
    for match in _FENCE.finditer(text):
        info = match["info"].split()
        if info and info[0] == language:
            section = next((name for start, name in reversed(headings) if start < match.start()), "")
            title = _TITLE.search(match["info"])
            yield Block(language, title[1] if title else "", section, textwrap.dedent(match["body"]))


def commands(page: Path) -> list[str]:
    """Every command of a page, in order."""
    return [command for block in blocks(page, "console") for command in block.commands]
