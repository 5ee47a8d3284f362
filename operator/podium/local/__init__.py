"""Runs on this machine, with processes instead of pods."""

from podium.local.runner import LocalRun

__all__ = ["LocalRun"]
