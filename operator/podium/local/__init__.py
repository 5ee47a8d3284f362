"""Runs on this machine, with torchrun processes instead of pods."""

from podium.local.runner import LocalRun

__all__ = ["LocalRun"]
