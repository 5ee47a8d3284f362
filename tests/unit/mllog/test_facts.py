"""What a log says. Times in the logs below are seconds."""

from __future__ import annotations

from typing import Any

import pytest

from podium.mllog import Event, Format, LogSummary, in_unit_of, parse, seconds, summarize


def event(time: float, key: str, value: Any = None, format_: Format = Format.MLLOG, **metadata: Any) -> Event:
    return Event(format_, time, key, value, metadata, 0)


def evaluations(*values: Any, format_: Format = Format.MLLOG) -> list[Event]:
    return [event(n, "eval_accuracy", value, format_, epoch_num=n) for n, value in enumerate(values, start=1)]


def summary(*events: Event) -> LogSummary:
    return summarize(events)


FACTS = {
    "the earliest init_start and run_start, the latest run_stop": (
        [event(12, "init_start"), event(10, "init_start"), event(11, "init_start"), event(20, "init_stop"),
         event(22, "run_start"), event(21, "run_start"), event(50, "run_stop", status="success"),
         event(49, "run_stop")],
        {"init_start": 10, "init_stop": 20, "run_start": 21, "run_stop": 50, "run_start_count": 2, "run_stop_count": 2,
         "run_stop_status": "success", "out_of_order": False, "lines": 8, "first_event_time": 10,
         "last_event_time": 50},
    ),
    "a run_stop before any run_start": (
        [event(5, "run_stop"), event(6, "run_start"), event(7, "run_stop")], {"out_of_order": True}),
    "a run_stop earlier than run_start": ([event(6, "run_start"), event(5, "run_stop")], {"out_of_order": True}),
    "a seed of 64 bits": ([event(1, "seed", 18446744073709551615)], {"seed": 18446744073709551615}),
    "each process its own seed": ([event(1, "seed", 3), event(1, "seed", 4)], {"seed": 3}),
    "seeds that are none": ([event(1, "seed", True), event(1, "seed", "x"), event(1, "seed", 10**500)], {"seed": None}),
    "sizes": (
        [event(1, "train_samples", 1281167), event(1, "eval_samples", 50000), event(1, "global_batch_size", 256)],
        {"train_samples": 1281167, "eval_samples": 50000, "global_batch_size": 256,
         "hyperparameters": {"global_batch_size": 256}},
    ),
    "progress": (
        [event(1, "run_start", max_epochs=90), event(2, "epoch_start", epoch_num=3),
         event(2, "tracked_stats", {"throughput": 812.5, "loss": 0.25}, epoch_num=3.5, samples_count=4096, step=16)],
        {"max_epochs": 90, "epoch": 3.5, "samples": 4096, "throughput": 812.5},
    ),
    "progress that diverged": (
        [event(2, "tracked_stats", {"throughput": float("nan"), "loss": None}, epoch_num="?")],
        {"throughput": None, "epoch": None},
    ),
    "energy": ([event(2, "tracked_stats", {"energy_joules": 5.5e6})], {"energy_joules": 5.5e6}),
    "time in evaluations": (
        [event(1, "eval_start"), event(3, "eval_stop"), event(5, "eval_start"), event(6, "eval_start"),
         event(9, "eval_stop"), event(10, "eval_stop"), event(11, "eval_start")],
        {"eval_seconds": 6},
    ),
    "evaluations without times": (evaluations(0.5), {"eval_seconds": None}),
    "offline evaluation": ([event(9, "eval_result", timestamp=1725.869)], {"offline_seconds": 1725.869}),
    "offline evaluation that no model passed": ([event(9, "eval_result", timestamp=0)], {"offline_seconds": None}),
    "hyperparameters": (
        [event(1, "opt_name", "lars"), event(1, "lars_epsilon", 0), event(1, "opt_base_learning_rate", [0.32, 0.032]),
         event(1, "model_bn_span", 64), event(1, "opt_weight_decay", float("nan")), event(1, "opt_x", {"a": 1}),
         event(1, "opt_learning_rate_alt_decay_func", True), event(1, "model_hp_final_shape", 1000)],
        {"hyperparameters": {"opt_name": "lars", "lars_epsilon": 0, "opt_base_learning_rate": [0.32, 0.032],
                             "model_bn_span": 64, "opt_learning_rate_alt_decay_func": True}},
    ),
    "a benchmark's name": ([event(1, "submission_benchmark", "ssd")], {"benchmark": "ssd", "format": Format.MLLOG}),
    "a benchmark's name that is none": ([event(1, "submission_benchmark", ["ssd"])], {"benchmark": None}),
}  # fmt: skip


@pytest.mark.parametrize(("events", "facts"), FACTS.values(), ids=FACTS)
def test_facts(events: list[Event], facts: dict[str, Any]) -> None:
    found = summarize(events)
    assert {name: getattr(found, name) for name in facts} == facts


def test_v05() -> None:
    log = """
:::MLPv0.5.0 ncf 1541731848.5 (<string>:1) run_clear_caches
:::MLPv0.5.0 ncf 1541731850.0 (ncf.py:205) run_set_random_seed: 14209
:::MLPv0.5.0 ncf 1541731851.5 (ncf.py:228) run_start
:::MLPv0.5.0 ncf 1541731852.0 (ncf.py:230) input_size: 19861770
:::MLPv0.5.0 ncf 1541731853.0 (ncf.py:240) train_epoch: 0
:::MLPv0.5.0 ncf 1541731854.0 (ncf.py:449) eval_size: {"epoch": null, "value": 138493000}
:::MLPv0.5.0 ncf 1541731885.0 (ncf.py:450) eval_accuracy: {"epoch": 0, "value": 0.6371}
:::MLPv0.5.0 ncf 1541731885.0 (ncf.py:451) eval_target: 0.635
:::MLPv0.5.0 ncf 1541731885.5 (ncf.py:460) run_stop: {"success": true}
"""
    found = summarize(parse(log)[0])
    assert (found.benchmark, found.format, found.seed) == ("ncf", Format.MLP, 14209)
    assert (found.train_samples, found.eval_samples, found.target) == (19861770, 138493000, 0.635)
    assert (found.epoch, found.quality(), found.run_stop_status) == (0, 0.6371, "success")
    assert seconds(found) == 34.0


SINGLE, BLEU = {"top1": 0.759}, {"BLEU": 24.0}


def test_values_in_the_unit_of_the_target() -> None:
    found = summarize(evaluations(0.25))
    assert in_unit_of(BLEU, found.evaluations[0], found) == {"BLEU": 25.0}
    assert in_unit_of(SINGLE, found.evaluations[0], found) == {"top1": 0.25}


SECONDS = {
    "from run_start to run_stop": ([event(2, "run_start"), event(5.5, "run_stop")], "run_stop", 3.5),
    "no run_start": ([event(5, "run_stop")], "run_stop", None),
    "no run_stop": ([event(5, "run_start")], "run_stop", None),
    "backwards": ([event(5, "run_start"), event(4, "run_stop")], "run_stop", None),
    "by eval_result": ([event(2, "run_start"), event(99, "eval_result", timestamp=3.5)], "eval_result", 3.5),
    "run_stop does not stand in for eval_result": ([event(2, "run_start"), event(99, "run_stop")], "eval_result", None),
    "nor the other way round": ([event(2, "run_start"), event(9, "eval_result", timestamp=3.5)], "run_stop", None),
}


@pytest.mark.parametrize(("events", "timed_by", "expected"), SECONDS.values(), ids=SECONDS)
def test_seconds(events: list[Event], timed_by: str, expected: float | None) -> None:
    assert seconds(summarize(events), timed_by) == expected


def test_what_is_kept_is_bounded() -> None:
    events = [event(n, f"opt_{n}", "x" * 1000) for n in range(1000)]
    found = summarize([*events, *evaluations(*[0.5] * 10_001, 0.75)])
    assert len(found.hyperparameters) == 256
    assert {len(value) for value in found.hyperparameters.values()} == {200}
    assert len(found.evaluations) == 10_000
    assert found.quality() == 0.75


def test_quality_of_a_metric() -> None:
    assert summarize([]).quality() is None
    assert summarize(evaluations({"BBOX": 0.3, "SEGM": 0.2})).quality("SEGM") == 0.2
    assert summarize(evaluations({"BBOX": 0.3, "SEGM": 0.2})).quality() is None


def test_lines_that_are_held_twice_are_one_start():
    lines = [":::MLPv0.5.0 ncf 100.0 (a.py:1) run_start"] * 2 + [":::MLPv0.5.0 ncf 160.0 (a.py:1) run_stop"] * 2
    summary = summarize(parse(lines)[0])
    assert (summary.run_start_count, summary.run_stop_count) == (1, 1)
    again = summarize(parse([*lines, ":::MLPv0.5.0 ncf 130.0 (a.py:1) run_start"])[0])
    assert again.run_start_count == 2


def second_run(at: float) -> list[Event]:
    return [event(at, "init_start"), event(at + 5, "init_stop"), event(at + 10, "run_start"),
            event(at + 20, "eval_accuracy", 0.8, epoch_num=1), event(at + 21, "run_stop", status="success")]  # fmt: skip


def test_of_two_runs_in_one_log_the_last_one_counts() -> None:
    died = [event(0, "init_start"), event(10, "run_start"), event(50, "eval_accuracy", 0.9, epoch_num=9)]
    found = summarize([*died, *second_run(100)])
    assert (found.run_start_count, seconds(found)) == (2, 11)
    assert (found.init_start, found.init_stop) == (100, 105)
    assert [evaluation.quality["eval_accuracy"] for evaluation in found.evaluations] == [0.8]


def test_a_second_run_that_never_starts_its_clock_changes_nothing() -> None:
    whole = summarize(second_run(0))
    again = summarize([*second_run(0), event(100, "init_start"), event(105, "init_stop")])
    assert (seconds(again), again.init_start, again.init_stop) == (seconds(whole), 0, 5)


def test_the_starts_of_several_processes_are_one_run() -> None:
    """Whether their lines come one after the other or process by process."""
    first, second = second_run(0), [event(e.time + 0.2, e.key, e.value, **e.metadata) for e in second_run(0)]
    for lines in ([*first, *second], [line for both in zip(first, second, strict=True) for line in both]):
        found = summarize(lines)
        assert (found.init_start, found.run_start) == (0, 10)
        assert seconds(found) == pytest.approx(11.2)
