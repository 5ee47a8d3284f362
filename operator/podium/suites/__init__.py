"""The rounds of MLPerf Training: targets, number of runs, tunable hyperparameters, clock. YAML files, one a round."""

from podium.suites.model import Benchmark, Clock, Hyperparameter, Quality, Suite, load_suites, targets, vocabulary
from podium.suites.rounds import DEFAULT_RUNS, load_rounds, round_at, round_name, round_of_folder

__all__ = [
    "DEFAULT_RUNS", "Benchmark", "Clock", "Hyperparameter", "Quality", "Suite", "load_rounds", "load_suites",
    "round_at", "round_name", "round_of_folder", "targets", "vocabulary",
]  # fmt: skip
