"""Prometheus metrics: progress of each run, fleet totals, health of the operator."""

from podium.metrics.families import Family
from podium.metrics.operator import Metrics, reference
from podium.metrics.sample import RunSample, run_sample

__all__ = ["Family", "Metrics", "RunSample", "reference", "run_sample"]
