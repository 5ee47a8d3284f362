"""The rounds of MLPerf Training, one YAML file per round: targets, number of runs, tunable hyperparameters, clock."""

from podium.rounds.abilities import ABILITIES, abilities
from podium.rounds.catalog import (
    DEFAULT_RUNS,
    load_rounds,
    round_at,
    round_name,
    round_number,
    round_of_folder,
    vocabulary,
)
from podium.rounds.kinds import BATCH, Settings, Unconstrained, same, shown
from podium.rounds.model import Benchmark, Clock, Hyperparameter, LogRules, Quality, Round
from podium.rounds.published import Published
from podium.rounds.reference import ReferencePoint, counted_in_samples, in_unit_of_points

__all__ = [
    "ABILITIES",
    "BATCH",
    "DEFAULT_RUNS",
    "Benchmark",
    "Clock",
    "Hyperparameter",
    "LogRules",
    "Published",
    "Quality",
    "ReferencePoint",
    "Round",
    "Settings",
    "Unconstrained",
    "abilities",
    "counted_in_samples",
    "in_unit_of_points",
    "load_rounds",
    "round_at",
    "round_name",
    "round_number",
    "round_of_folder",
    "same",
    "shown",
    "vocabulary",
]  # fmt: skip
