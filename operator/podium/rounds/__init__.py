"""The rounds of MLPerf Training, one YAML file per round: targets, number of runs, tunable hyperparameters, clock."""

from podium.rounds.catalog import (
    DEFAULT_RUNS,
    load_scorable_rounds,
    round_at,
    round_name,
    round_number,
    round_of_folder,
)
from podium.rounds.kinds import BATCH, Settings, same, shown
from podium.rounds.model import (
    Benchmark,
    Clock,
    Hyperparameter,
    LogRules,
    Quality,
    Round,
    load_rounds,
    targets,
    vocabulary,
)
from podium.rounds.published import Published, published, reference_mean

__all__ = [
    "BATCH",
    "DEFAULT_RUNS",
    "Benchmark",
    "Clock",
    "Hyperparameter",
    "LogRules",
    "Published",
    "Quality",
    "Round",
    "Settings",
    "load_rounds",
    "load_scorable_rounds",
    "published",
    "reference_mean",
    "round_at",
    "round_name",
    "round_number",
    "round_of_folder",
    "same",
    "shown",
    "targets",
    "vocabulary",
]  # fmt: skip
