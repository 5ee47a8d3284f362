"""The rounds of MLPerf Training: targets, number of runs, tunable hyperparameters, clock. YAML files, one a round."""

from podium.suites.kinds import BATCH, Settings, same, shown
from podium.suites.model import (
    Benchmark,
    Clock,
    Hyperparameter,
    LogRules,
    Quality,
    Suite,
    load_suites,
    targets,
    vocabulary,
)
from podium.suites.rounds import DEFAULT_RUNS, load_rounds, round_at, round_name, round_of_folder

__all__ = [
    "BATCH", "DEFAULT_RUNS", "Benchmark", "Clock", "Hyperparameter", "LogRules", "Quality", "Settings", "Suite",
    "load_rounds", "load_suites", "round_at", "round_name", "round_of_folder", "same", "shown", "targets", "vocabulary",
]  # fmt: skip
