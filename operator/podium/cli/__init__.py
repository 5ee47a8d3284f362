"""The command line: ``podium``, also ``kubectl podium``. Exit codes: 0 success, 1 findings, 2 usage error."""

from podium.cli.main import main

__all__ = ["main"]
