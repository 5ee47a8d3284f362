"""Every bound of the evidence, from both sides: the value that it still allows, and the first that it does not."""

from __future__ import annotations

import pytest

from podium.mllog import Evaluation, LogSummary, Segment
from podium.rounds import Published, Quality
from podium.rules.evidence import evidence, pace
from podium.rules.goal import Goal

TARGET = (Quality(metric="eval_accuracy", target=0.7),)
EVEN = [10.0] * 4


def named(usual=None, *, offline=False, **log):
    """The rules that name a log of a round whose published logs have `usual` in common."""
    published = Published(**usual) if usual is not None else None
    goal = Goal(qualities=TARGET, attempts=5, published=published, evaluated_offline=offline)
    return [str(finding.rule) for finding in evidence(LogSummary(**log), goal, "log")]


def at(*epochs, quality=0.5, samples=None):
    return tuple(Evaluation(0.0, epoch, {"eval_accuracy": quality}, samples) for epoch in epochs)


def stretches(seconds, evaluations=EVEN, trained=1.0, throughput=None, *, in_samples=False):
    pairs = zip(seconds, evaluations, strict=True)
    return tuple(Segment(trained, in_samples, train, evaluate, throughput) for train, evaluate in pairs)


PACED = {"block": 0.5, "evaluation": 0.5}
MISSING = ["log.evaluation.missing"]


@pytest.mark.parametrize(
    ("usual", "log", "rules"),
    [
        # two processes have two clocks
        (None, {"early_result_seconds": 0.5}, []),
        (None, {"early_result_seconds": 0.51}, ["log.time.order"]),
        # a value that no model can have is asked about if another one passes
        (None, {"evaluations": (*at(1, quality=1.0), *at(2, quality=0.8))}, []),
        (None, {"evaluations": (*at(1, quality=1.01), *at(2, quality=0.8))}, ["log.evaluation.value"]),
        (None, {"evaluations": (*at(1, quality=1.01), *at(2, quality=0.6))}, []),
        (None, {"evaluations": at(1), "not_numbers": 1}, ["log.evaluation.value"]),
        (None, {"evaluations": (), "not_numbers": 1}, []),
        # two results of one point
        ({}, {"evaluations": (*at(1), *at(1))}, []),
        ({}, {"evaluations": (*at(1), *at(1, quality=0.6))}, ["log.evaluation.repeated"]),
        ({}, {"evaluations": (*at(1), *at(1, quality=0.6), *at(1, quality=0.4))}, ["log.evaluation.repeated"]),
        ({}, {"evaluations": (*at(0), *at(0, quality=0.6))}, ["log.evaluation.repeated"]),
        ({}, {"evaluations": (*at(None), *at(None, quality=0.6))}, []),
        ({}, {"evaluations": (*at(1), *at(1.0004, quality=0.6))}, ["log.evaluation.repeated"]),
        ({}, {"evaluations": (*at(1), *at(1.001, quality=0.6))}, []),
        ({"repeats_evaluations": True}, {"evaluations": (*at(1), *at(1, quality=0.6))}, []),
        # the round's interval, and a batch more
        ({"every_epochs": 100}, {"evaluations": at(100, 201)}, []),
        ({"every_epochs": 100}, {"evaluations": at(100, 201.1)}, MISSING),
        ({"every_epochs": 100}, {"evaluations": at(100)}, []),
        ({"every_epochs": 0.5}, {"evaluations": at(0.5)}, []),
        # the log's own interval
        ({"regular": 1.5}, {"evaluations": at(10, 20, 30, 45.15)}, []),
        ({"regular": 1.5}, {"evaluations": at(10, 20, 30, 45.2)}, MISSING),
        ({"regular": 1.5}, {"evaluations": at(0.1, 0.2, 0.3)}, []),
        ({"regular": 1.5}, {"evaluations": at(10)}, []),
        # the first evaluation
        ({"every_epochs": 100, "first": 2}, {"evaluations": at(202)}, []),
        ({"every_epochs": 100, "first": 2}, {"evaluations": at(202.1)}, MISSING),
        ({"first": 2}, {"evaluations": at(30, 40, 50)}, MISSING),  # by the log's own interval
        ({"first": 3}, {"evaluations": at(30, 40, 50)}, []),
        ({"first": 2}, {"evaluations": at(30)}, []),
        ({"every_epochs": 100, "first": 2, "fewest": 0.5}, {"evaluations": at(300, 400), "run_stop": 9.0}, []),
        ({"every_epochs": 100, "first": 1, "fewest": 0.5}, {"evaluations": at(300, 400), "run_stop": 9.0}, []),
        ({"every_epochs": 100, "first": 1, "fewest": 0.5}, {"evaluations": at(350, 400, 500), "run_stop": 9.0}, []),
        ({"every_epochs": 100, "first": 1, "fewest": 0.75}, {"evaluations": at(300, 400), "run_stop": 9.0}, MISSING),
        # a log that was cut off would have had more of them
        ({"every_epochs": 100, "first": 1, "fewest": 0.75}, {"evaluations": at(300, 400)}, []),
        ({"every_epochs": 100, "first": 1, "fewest": 1.0}, {"evaluations": at(150), "run_stop": 9.0}, []),
        # the pace of the training
        (PACED, {"segments": stretches([10, 10, 10, 5])}, []),
        (PACED, {"segments": stretches([10, 10, 10, 4.9])}, ["log.pace.block"]),
        (PACED, {"segments": stretches([10, 10, 4.9], EVEN[:3])}, ["log.pace.block"]),
        (PACED, {"segments": stretches([10, 3], EVEN[:2])}, []),  # of two, nobody knows which is right
        (PACED, {"segments": stretches([10, 10, 10, 0])}, []),
        (PACED, {"segments": stretches([0.5, 0.5, 0.5, 0.2])}, ["log.pace.block"]),
        (PACED, {"segments": (*stretches([10, 10, 10], EVEN[:3]), *stretches([5], [10], trained=0.0))}, []),
        # the pace of the evaluations
        (PACED, {"segments": stretches(EVEN, [10, 10, 10, 5]), "eval_seconds": 35.0}, []),
        (PACED, {"segments": stretches(EVEN, [10, 10, 10, 4.9]), "eval_seconds": 34.9}, ["log.pace.evaluation"]),
        (PACED, {"segments": stretches(EVEN, [10, 10, 10, 4.9])}, []),
        (PACED, {"segments": (), "eval_seconds": 40.0}, []),  # stamps that say nothing of the training
        ({"evaluated_as": 1.0}, {"segments": stretches(EVEN), "eval_seconds": 40.0}, []),
        ({"evaluated_as": 1.01}, {"segments": stretches(EVEN), "eval_seconds": 40.0}, ["log.pace.evaluation"]),
        # the throughput: 100 samples an epoch, in 10 s
        ({"throughput": (0.5, 2.0)}, {"segments": stretches(EVEN, throughput=5.0), "train_samples": 100}, []),
        (
            {"throughput": (0.5, 2.0)}, {"segments": stretches(EVEN, throughput=4.9), "train_samples": 100},
            ["log.pace.throughput"],
        ),
        ({"throughput": (0.5, 2.0)}, {"segments": stretches(EVEN, throughput=20.0), "train_samples": 100}, []),
        (
            {"throughput": (0.5, 2.0)}, {"segments": stretches(EVEN, throughput=20.1), "train_samples": 100},
            ["log.pace.throughput"],
        ),
        ({"throughput": (0.5, 2.0)}, {"segments": stretches(EVEN, throughput=1.0)}, []),
        ({}, {"segments": stretches(EVEN, throughput=1.0), "train_samples": 100}, []),
        # epochs
        ({}, {"epochs_missing": 1}, ["log.epochs.missing"]),
        ({"consecutive_epochs": False}, {"epochs_missing": 1}, []),
    ],
)  # fmt: skip
def test_the_bounds(usual, log, rules):
    assert named(usual, **log) == rules


def test_results_that_come_after_the_clock_are_early_for_nobody():
    assert named(early_result_seconds=60.0, offline=True) == []


def test_the_pace_of_a_log():
    assert pace(LogSummary(segments=stretches([10, 20, 60], EVEN[:3], trained=2.0))) == 10.0
    assert pace(LogSummary()) is None
