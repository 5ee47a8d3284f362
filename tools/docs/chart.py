"""The chart's README, whose table of values is generated from values.yaml."""

from __future__ import annotations

from tools.docs.markdown import ROOT

README = ROOT / "helm/podium/README.md"


def page() -> str:
    """The page."""
    return README.read_text()
