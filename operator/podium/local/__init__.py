"""Runs on this machine: torchrun processes in place of pods."""

from podium.local.runner import LocalRun

__all__ = ["LocalRun"]
