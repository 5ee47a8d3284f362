"""Prometheus metrics: progress of the runs and health of the operator."""

from podium.metrics.collectors import Metrics, RunCollector
from podium.metrics.sample import RunSample, run_sample

__all__ = ["Metrics", "RunCollector", "RunSample", "run_sample"]
