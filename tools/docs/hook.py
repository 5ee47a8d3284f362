"""Hooks that mkdocs calls while it builds the site."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from mkdocs.utils import get_relative_url

from tools.docs import pages

# The theme's plugin "offline" takes a script from elsewhere; ours does the same.
_SHIM, _OWN_SHIM = "https://unpkg.com/iframe-worker/shim", "javascripts/worker-from-folder.js"
_FOLDERS = {"How to": "how-to", "Decisions": "decisions", "Measurements": "performance"}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the pages of `_FOLDERS` that the navigation does not list."""
    for title, listed in _sections(config.nav or []):
        if folder := _FOLDERS.get(title):
            named = {path for entry in listed for path in (entry.values() if isinstance(entry, dict) else [entry])}
            found = (f"{folder}/{file.name}" for file in sorted(Path(config.docs_dir, folder).glob("*.md")))
            listed += [path for path in found if path not in named]
    return config


def _sections(nav: list[Any]) -> Iterator[tuple[str, list[Any]]]:
    """Title and entries of every section, at any depth."""
    for entry in nav:
        for title, inner in entry.items() if isinstance(entry, dict) else ():
            if isinstance(inner, list):
                yield title, inner
                yield from _sections(inner)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages generated from the code."""
    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_post_page(output: str, page: Page, **_: object) -> str:
    """Have the search of a folder use a script of this site."""
    return output.replace(_SHIM, get_relative_url(_OWN_SHIM, page.url))


def on_post_template(output: str, **_: object) -> str:
    """The same for the pages that the theme makes, such as 404.html."""
    return output.replace(_SHIM, _OWN_SHIM)
