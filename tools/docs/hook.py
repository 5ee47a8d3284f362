"""What mkdocs calls while it builds the site."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from tools.docs import pages


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the guides of ``how-to/`` that the navigation does not name, after those that it does."""
    assert config.nav is not None
    (guides,) = (section["How to"] for section in config.nav if "How to" in section)
    named = {path for guide in guides for path in guide.values()}
    found = (f"how-to/{file.name}" for file in sorted(Path(config.docs_dir, "how-to").glob("*.md")))
    guides += [path for path in found if path not in named]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The files of ``docs/`` and the pages made from the code."""
    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files
