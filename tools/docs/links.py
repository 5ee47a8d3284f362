"""``python -m tools.docs.links SITE``

Checks every link of a built site, offline. Internal links must lead to a page, and their anchors to an element of it.
External links must be well-formed https addresses. The browser must not load anything from another host: the site must
work offline and must not call home.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_LOADED = {
    ("script", "src"),
    ("img", "src"),
    ("iframe", "src"),
    ("link", "href"),
    ("source", "src"),
    ("object", "data"),
}


@dataclass
class _Page(HTMLParser):
    """Anchors of a page, and its links as (tag, attribute, address)."""

    anchors: set[str] = field(default_factory=set)
    links: list[tuple[str, str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            elif (tag, name) in _LOADED or (tag, name) == ("a", "href"):
                self.links.append((tag, name, value or ""))


def problems(site: Path) -> Iterator[str]:
    """A sentence for each wrong link."""
    for file in sorted(site.rglob("*.html")):
        if file.name != "404.html":  # its addresses are absolute, because it is served at any depth
            yield from (f"{file.relative_to(site)}: {said}" for said in _of_page(file, site))


def _of_page(file: Path, site: Path) -> Iterator[str]:
    for tag, name, address in _page(file).links:
        url = urlsplit(address)
        if url.scheme or url.netloc:
            if (tag, name) in _LOADED and url.scheme != "data":
                yield f"loads {address}, which is not part of this site"
            elif url.scheme not in {"https", "mailto", "data"} or (url.scheme == "https" and "." not in url.netloc):
                yield f"{address} is not an https address"
            continue
        target = (file.parent / unquote(url.path)).resolve() if url.path else file
        if not target.is_relative_to(site.resolve()) or not target.is_file():
            yield f"{address} does not exist"
        elif url.fragment and target.suffix == ".html" and unquote(url.fragment) not in _page(target).anchors:
            yield f"{address} names an anchor that does not exist"


@cache
def _page(file: Path) -> _Page:
    page = _Page()
    page.feed(file.read_text())
    return page


if __name__ == "__main__":
    sys.exit("\n".join(problems(Path(sys.argv[1]).resolve())) or 0)
