"""The run as the rules of its round time it.

Since v0.6 initialisation is untimed and the clock runs from the first touch of data; in v0.5 it runs before anything of
the benchmark's own, building the model included. The round comes from PODIUM_SUITE or `--round`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from mlperf_logging.mllog import constants as keys

from podium_benchmarks.core import dist
from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.core.mllog import Log


def starts_before_model() -> bool:
    """Whether the round times all of initialisation."""
    return os.environ.get("PODIUM_SUITE") == "v0.5"


def open_log(log: Log, benchmark: str, max_epochs: int | None = None, *, timed_from_start: bool = True) -> None:
    """Who submits what (from the environment), then the start of initialisation; by the rules of v0.5 of the clock.

    `timed_from_start` is false where v0.5 has a rule of its own (NCF).
    """
    log.event(keys.SUBMISSION_BENCHMARK, benchmark)
    log.event(keys.SUBMISSION_ORG, os.environ.get("PODIUM_SUBMISSION_ORG", "podium"))
    log.event(keys.SUBMISSION_DIVISION, os.environ.get("PODIUM_DIVISION", "open"))
    log.event(keys.SUBMISSION_STATUS, os.environ.get("PODIUM_STATUS", "research"))
    platform = os.environ.get("PODIUM_PLATFORM", "local")
    log.event(keys.SUBMISSION_PLATFORM, platform)
    if os.environ.get("PODIUM_SUITE") == "v0.6":  # its checker asks for these two, later ones no longer do
        log.event(keys.SUBMISSION_POC_NAME, os.environ.get("PODIUM_SUBMISSION_POC_NAME", "unnamed"))
        log.event(keys.SUBMISSION_ENTRY, os.environ.get("PODIUM_SUBMISSION_ENTRY", platform))
    # Whoever starts the pod can clear the host's caches; a trainer can't, so it only passes on what it was told.
    if os.environ.get("PODIUM_CACHE_CLEARED") == "1":
        log.event(keys.CACHE_CLEAR, True)
    log.start(keys.INIT_START)
    if starts_before_model() and timed_from_start:
        log.end(keys.INIT_STOP)
        log.start(keys.RUN_START, **({} if max_epochs is None else {"max_epochs": max_epochs}))
        dist.wait_for_all()  # no rank begins before the clock runs


def log_hyperparameters(log: Log, seed: int, values: Mapping[str, Any]) -> None:
    """The master seed and every hyperparameter, each under its MLPerf key."""
    log.event(keys.SEED, seed)
    for key, value in values.items():
        log.event(key, value)


def start(log: Log, ranks: Ranks, max_epochs: int) -> None:
    """End initialisation and start the clock once all ranks are ready; only then may a rank touch data."""
    dist.barrier(ranks)
    if keys.RUN_START in log.time_ms:
        return  # it has been running since the log was opened
    log.end(keys.INIT_STOP)
    log.start(keys.RUN_START, max_epochs=max_epochs)
    dist.barrier(ranks)


def stop(log: Log, ranks: Ranks, *, reached: bool, epoch: int) -> None:
    """Stop the clock."""
    if ranks.device.type == "cuda":
        torch.cuda.synchronize(ranks.device)
    log.end(keys.RUN_STOP, status=keys.SUCCESS if reached else keys.ABORTED, epoch_num=epoch)
    if starts_before_model():
        log.event("run_final")  # the last line that v0.5 asks for
