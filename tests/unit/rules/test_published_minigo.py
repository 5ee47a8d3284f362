"""The hyperparameters of published closed entries are admitted, others are not."""

from __future__ import annotations

from typing import Any

import pytest

from podium.rounds import load_rounds
from podium.rules import check_spec
from tests.unit.reconcile import examples as ex

# NVIDIA's entries with 1 and 3 nodes and Intel's two in v0.6: the same values in all of their logs
MINIGO = {"global_batch_size": 8192, "opt_base_learning_rate": [0.32, 0.032, 0.0032],
          "opt_learning_rate_decay_boundary_steps": [12_500, 18_750], "virtual_losses": 8}  # fmt: skip


def closed(hyperparameters: dict[str, Any]) -> list[str]:
    spec = ex.spec(benchmark="minigo", division="closed", preset="full", quality=None, attempts=10,
                   hyperparameters=hyperparameters)  # fmt: skip
    return [finding.message for finding in check_spec(spec, load_rounds())]


def test_published_entries_are_admitted() -> None:
    assert closed(MINIGO) == []


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"published_start": False}, "not tunable in the closed division of v0.6 minigo; tunable: "),
        ({"start_checkpoint": "mine.pt"}, "not an MLPerf hyperparameter"),
        ({"readouts": 30}, "not an MLPerf hyperparameter"),
    ],
)
def test_another_start_or_search_is_not(change: dict[str, Any], refusal: str) -> None:
    (message,) = closed(MINIGO | change)
    assert message.startswith(refusal)
