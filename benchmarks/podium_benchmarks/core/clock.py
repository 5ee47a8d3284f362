"""The run as the rules of its round time it.

Since v0.6 initialization is untimed and the clock runs from the first touch of data; in v0.5 it runs before anything of
the benchmark's own, building the model included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from mlperf_logging.mllog import constants as keys

from podium_benchmarks.core import dist
from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.core.files import drop_from_cache
from podium_benchmarks.core.mllog import Log, finite
from podium_benchmarks.core.settings import RunSettings

Quality = TypeVar("Quality", float, dict[str, float])


def open_log(
    ranks: Ranks, benchmark: str, settings: RunSettings, max_epochs: int | None = None, *, timed_from_start: bool = True
) -> Log:
    """The run's log, begun with who submits what on how many ranks, and the start of initialization.

    In v0.5 the clock starts with it, too. `timed_from_start` is false where v0.5 has another rule (NCF).
    """
    log = Log(enabled=ranks.rank == 0)
    log.event(keys.SUBMISSION_BENCHMARK, benchmark)
    log.event(keys.SUBMISSION_ORG, settings.org)
    log.event(keys.SUBMISSION_DIVISION, settings.division)
    log.event(keys.SUBMISSION_STATUS, settings.status)
    log.event(keys.SUBMISSION_PLATFORM, settings.platform)
    if settings.round == "v0.6":  # its checker asks for these two, later ones no longer do
        log.event(keys.SUBMISSION_POC_NAME, settings.poc_name)
        log.event(keys.SUBMISSION_ENTRY, settings.platform if settings.entry is None else settings.entry)
    log.event("number_of_ranks", ranks.world_size)
    _clear_caches(log, ranks, settings)
    log.start(keys.INIT_START)
    if settings.times_initialization and timed_from_start:
        log.end(keys.INIT_STOP)
        log.start(keys.RUN_START, **({} if max_epochs is None else {"max_epochs": max_epochs}))
        dist.wait_for_all()  # no rank begins before the clock runs
    return log


def _clear_caches(log: Log, ranks: Ranks, settings: RunSettings) -> None:
    """Drop the data set from the page cache of every node, and log what was done.

    The rules exclude data that start in memory: "You must flush the cache or restart the system prior to benchmarking"
    (training_rules.adoc). Without privileges, a process can drop the files that it can read, and nothing else of the
    node: whoever has flushed the rest before it says so.
    """
    cleared = [settings.cache_cleared] if settings.cache_cleared else []
    if settings.data_dir is None:
        log.event(keys.CACHE_CLEAR, True, cleared=[*cleared, "no data set is read"])
        return
    dropped = drop_from_cache(settings.data_dir) if dist.is_first_on_node() else (0, 0)
    files, kept = dist.sum_over_ranks(torch.tensor(dropped, device=ranks.device)).tolist()
    log.event(keys.CACHE_CLEAR, not kept, cleared=[*cleared, "data set"], files=files, files_kept=kept)


def log_hyperparameters(log: Log, seed: int, values: Mapping[str, Any]) -> None:
    """The master seed and every hyperparameter, each under its MLPerf key."""
    log.event(keys.SEED, seed)
    for key, value in values.items():
        log.event(key, value)


def log_samples(log: Log, train: int, evaluation: int) -> None:
    """The sizes of both sets."""
    log.event(keys.TRAIN_SAMPLES, train)
    log.event(keys.EVAL_SAMPLES, evaluation)


def start(log: Log, ranks: Ranks, max_epochs: int | None = None, *, began_ms: int = 0, **metadata: Any) -> None:
    """End initialization and start the clock once all ranks are ready; only then may a rank touch data.

    `began_ms` is when the clock of a resumed attempt started: it has been running since, and nothing resets it.
    """
    dist.barrier(ranks)
    if keys.RUN_START in log.time_ms:
        return  # it has been running since the log was opened
    log.end(keys.INIT_STOP)
    log.start(keys.RUN_START, at_ms=began_ms, **({} if max_epochs is None else {"max_epochs": max_epochs}), **metadata)
    dist.barrier(ranks)


def evaluation(log: Log, done: int, evaluate: Callable[[], Quality], unit: str = keys.EPOCH_NUM) -> Quality:
    """Return what `evaluate` returns, logged as the quality after so many epochs, or samples (keys.SAMPLES_COUNT)."""
    log.start(keys.EVAL_START, **{unit: done})
    quality = evaluate()
    log.event(keys.EVAL_ACCURACY, finite(quality) if isinstance(quality, float) else quality, **{unit: done})
    log.end(keys.EVAL_STOP, **{unit: done})
    return quality


def stop(
    log: Log, ranks: Ranks, settings: RunSettings, *, reached: bool, epoch: int | None = None,
    before_leaving: Callable[[], None] | None = None, **metadata: Any,
) -> None:  # fmt: skip
    """Stop the clock; the ranks then leave together, after what they still have to do off the clock."""
    if ranks.device.type == "cuda":
        torch.cuda.synchronize(ranks.device)
    progress = metadata if epoch is None else {keys.EPOCH_NUM: epoch, **metadata}
    log.end(keys.RUN_STOP, status=keys.SUCCESS if reached else keys.ABORTED, **progress)
    if settings.times_initialization:
        log.event("run_final")  # the last line that v0.5 asks for
    if before_leaving is not None:
        before_leaving()
    dist.leave()
