"""A page as a person sees it: Debian's Chromium without a window."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.processes import MissingPartError

# A page forbids itself all scripts: it is measured from outside, in a frame of the wanted width.
_FRAME = """<!doctype html><meta charset="utf-8"><body style="margin:0">
<iframe style="border:0;width:{width}px;height:2000px" srcdoc="{page}"></iframe><pre id="seen"></pre><script>
const frame = document.querySelector("iframe");
frame.addEventListener("load", () => {{
  const page = frame.contentDocument, root = page.documentElement;
  const box = element => element.getBoundingClientRect();
  document.getElementById("seen").textContent = JSON.stringify({{
    width: root.clientWidth,
    needed: root.scrollWidth,
    headings: [...page.querySelectorAll("h1, h2")].map(h => h.innerText.replace(/\\s+/g, " ")),
    charts: [...page.querySelectorAll("svg.chart")].map(svg => [box(svg).width, box(svg).height]),
    text: page.body.innerText,
  }});
}});
</script>"""
_SEEN = re.compile(r'<pre id="seen">(.*?)</pre>', re.DOTALL)
_MESSAGE = re.compile(r'CONSOLE.*?\] "(.*)", source:')


@dataclass(frozen=True)
class Seen:
    """Widths in CSS pixels; `needed` beyond `width` means that the page scrolls sideways."""

    width: int
    needed: int
    headings: list[str]
    charts: list[tuple[float, float]]
    text: str
    console: list[str]  # messages of the browser's console


class Browser:
    """Raises MissingPartError when there is none."""

    def __init__(self, folder: Path) -> None:
        found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        if found is None:
            raise MissingPartError("chromium is missing; install it (Debian: apt-get install chromium)")
        self._folder = folder
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
        self._command = [found, *options, f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr"]

    def see(self, page: Path, width: int) -> Seen:
        """The page in a window so many pixels wide."""
        frame = self._folder / f"frame-{width}.html"
        frame.write_text(_FRAME.format(width=width, page=html.escape(page.read_text())))
        done = self._run("--dump-dom", f"--window-size={max(500, width)},2000", frame.as_uri())
        found = _SEEN.search(done.stdout)
        assert found is not None
        assert found[1], f"the page was not measured: {done.stdout[-500:]}{done.stderr[-2000:]}"
        seen: dict[str, Any] = json.loads(html.unescape(found[1]))
        return Seen(**seen, console=_MESSAGE.findall(done.stderr))

    def picture(self, page: Path, out: Path, width: int, height: int) -> None:
        """A PNG of the upper part of the page."""
        self._run(f"--screenshot={out}", f"--window-size={width},{height}", page.as_uri())

    def pages(self, page: Path) -> int:
        """Pages on paper."""
        out = self._folder / "printed.pdf"
        self._run(f"--print-to-pdf={out}", "--no-pdf-header-footer", page.as_uri())
        return len(re.findall(rb"/Type\s*/Page\b", out.read_bytes()))

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*self._command, *words], capture_output=True, text=True, timeout=120, check=True)
