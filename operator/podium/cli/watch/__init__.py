"""``podium watch``."""

from podium.cli.watch.command import watch

__all__ = ["watch"]
