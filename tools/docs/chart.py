"""The chart's own page, whose table of values is made from its values.yaml."""

from __future__ import annotations

from tools.docs.markdown import ROOT

README = ROOT / "helm/podium/README.md"


def page() -> str:
    """The page."""
    return README.read_text()
