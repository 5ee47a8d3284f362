"""The rounds of MLPerf Training: targets, number of runs, tunable hyperparameters, clock. YAML files, one a round."""

from podium.suites.model import Benchmark, Clock, Hyperparameter, Quality, Suite, load_suites, targets, vocabulary

__all__ = ["Benchmark", "Clock", "Hyperparameter", "Quality", "Suite", "load_suites", "targets", "vocabulary"]
