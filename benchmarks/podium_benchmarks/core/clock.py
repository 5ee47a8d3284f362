"""The run as the rules time it since v0.6: initialisation untimed, the clock from the first touch of data."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from mlperf_logging.mllog import constants as keys

from podium_benchmarks.core import dist
from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.core.mllog import Log


def open_log(log: Log, benchmark: str) -> None:
    """Who submits what (from the environment), then the start of initialisation."""
    log.event(keys.SUBMISSION_BENCHMARK, benchmark)
    log.event(keys.SUBMISSION_ORG, os.environ.get("PODIUM_SUBMISSION_ORG", "podium"))
    log.event(keys.SUBMISSION_DIVISION, os.environ.get("PODIUM_DIVISION", "open"))
    log.event(keys.SUBMISSION_STATUS, os.environ.get("PODIUM_STATUS", "research"))
    log.event(keys.SUBMISSION_PLATFORM, os.environ.get("PODIUM_PLATFORM", "local"))
    # Whoever starts the pod can clear the host's caches; a trainer can't, so it only passes on what it was told.
    if os.environ.get("PODIUM_CACHE_CLEARED") == "1":
        log.event(keys.CACHE_CLEAR, True)
    log.start(keys.INIT_START)


def log_hyperparameters(log: Log, seed: int, values: Mapping[str, Any]) -> None:
    """The master seed and every hyperparameter, each under its MLPerf key."""
    log.event(keys.SEED, seed)
    for key, value in values.items():
        log.event(key, value)


def start(log: Log, ranks: Ranks, max_epochs: int) -> None:
    """End initialisation and start the clock once all ranks are ready; only then may a rank touch data."""
    dist.barrier(ranks)
    log.end(keys.INIT_STOP)
    log.start(keys.RUN_START, max_epochs=max_epochs)
    dist.barrier(ranks)


def stop(log: Log, ranks: Ranks, *, reached: bool, epoch: int) -> None:
    """Stop the clock."""
    if ranks.device.type == "cuda":
        torch.cuda.synchronize(ranks.device)
    log.end(keys.RUN_STOP, status=keys.SUCCESS if reached else keys.ABORTED, epoch_num=epoch)
