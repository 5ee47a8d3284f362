"""Prometheus metrics: progress of each run, fleet totals, health of the operator."""

from podium.metrics.families import Family
from podium.metrics.operator import Metrics, reference
from podium.metrics.sample import FinishedSample, RunSample, finished_sample, run_sample

__all__ = ["Family", "FinishedSample", "Metrics", "RunSample", "finished_sample", "reference", "run_sample"]
