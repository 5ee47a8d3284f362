"""What mkdocs calls while it builds the site: adds the generated pages."""

from __future__ import annotations

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from tools.docs import pages


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The files of ``docs/`` and the pages made from the code."""
    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files
