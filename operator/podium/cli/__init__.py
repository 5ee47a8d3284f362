"""The command line: ``podium``, also installed as ``kubectl podium``. Exit codes: 0 fine, 1 findings, 2 wrong use."""

from podium.cli.main import main

__all__ = ["main"]
