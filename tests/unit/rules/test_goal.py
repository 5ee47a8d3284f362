"""When a goal is reached: which values count as which metric, in which unit, in which direction."""

from __future__ import annotations

import pytest

from podium.mllog import Event, Format, parse, summarize
from podium.rounds import Quality, load_rounds
from podium.rules import Goal, goal_for, goal_of_log
from tests.unit.mllog.test_facts import evaluations, event
from tests.unit.reconcile import examples as ex


def goal(targets: dict[str, float], **more: bool) -> Goal:
    return Goal(tuple(Quality(metric=metric, target=target, **more) for metric, target in targets.items()), attempts=1)


SINGLE, BOTH, BLEU = {"top1": 0.759}, {"BBOX": 0.377, "SEGM": 0.339}, {"BLEU": 24.0}
REACHED = {
    "the first of several": (SINGLE, evaluations(0.7, 0.759, 0.8), 2),
    "never": (SINGLE, evaluations(0.7, 0.7589999), None),
    "no evaluation": (SINGLE, [], None),
    "a number in a string": (SINGLE, evaluations("0.76"), 1),
    "words": (SINGLE, evaluations("best", None, [1], {"a": "b"}), None),
    "not a number": (SINGLE, evaluations(float("nan"), float("inf"), "Infinity"), None),
    "both metrics at once": (BOTH, evaluations({"BBOX": 0.38, "SEGM": 0.33}, {"BBOX": 0.37, "SEGM": 0.34},
                                               {"BBOX": 0.377, "SEGM": 0.339}), 3),
    "v0.6 Mask R-CNN": (BOTH, evaluations({"accuracy": {"BBOX": 0.38, "SEGM": 0.34}}), 1),
    "v0.6 Mask R-CNN of Google, box and mask": (BOTH, evaluations([0.376, 0.34], [0.377, 0.339]), 2),
    "the first of two in a list": (BOTH, evaluations([0.9], [0.9, "x"], [0.9, 0.3]), None),
    "three in a list for two": (BOTH, evaluations([0.9, 0.9, 0.9]), None),
    "one of two metrics": (BOTH, evaluations(0.9, {"BBOX": 0.9}), None),
    "BLEU of v0.6": (BLEU, evaluations(19.8, "24.1", format_=Format.MLL), 2),
    "BLEU of v0.6 from an untrained model": (BLEU, evaluations(0.3, 0.9, format_=Format.MLL), None),
    "BLEU of v0.7": (BLEU, evaluations(0.19, 0.2435), 2),
    "BLEU of v0.7 in percent": (BLEU, evaluations(0.3, 0.9, 5.5), None),
    "BLEU of v0.7 in percent by its target": (BLEU, [event(0, "eval_target", 24.0), *evaluations(0.3)], None),
    "BLEU of v0.7 as a fraction by its target": (BLEU, [event(0, "eval_target", 0.24), *evaluations(0.3)], 1),
}  # fmt: skip


@pytest.mark.parametrize(("targets", "events", "epoch"), REACHED.values(), ids=REACHED)
def test_reached(targets: dict[str, float], events: list[Event], epoch: int | None) -> None:
    evaluation = goal(targets).reached(summarize(events))
    assert (evaluation.epoch if evaluation else None) == epoch


LOSS = {
    "above the target": (2.69, [7.5], None),
    "at the target": (2.69, [7.5, 2.69, 2.5], 2),
    "never a loss that cannot be": (2.69, [-1.0, 0.0, float("nan"), float("-inf")], None),
    "a fraction is no percent": (2.69, [0.5], 1),
    "a word error rate": (0.058, [0.06, 0.0579], 2),
}


@pytest.mark.parametrize(("target", "values", "epoch"), LOSS.values(), ids=LOSS)
def test_a_loss_is_reached_from_above(target: float, values: list[float], epoch: int | None) -> None:
    found = goal({"loss": target}, lower_is_better=True).reached(summarize(evaluations(*values)))
    assert (found.epoch if found else None) == epoch


def test_an_accuracy_above_1_reaches_nothing_and_a_custom_metric_may_be_anything() -> None:
    found = summarize(evaluations(1.7))
    assert goal(SINGLE).reached(found) is None
    assert goal(SINGLE, bounded=False).reached(found)
    assert goal({"top1": 1.0}).reached(found) is None
    assert goal({"top1": 1.5}).reached(found), "a target above 1 is not a fraction"
    assert goal(BLEU).reached(summarize(evaluations(24.5, format_=Format.MLL)))


def test_without_a_target_nothing_is_reached() -> None:
    assert goal({}).reached(summarize(evaluations(0.9))) is None


def test_of_two_metrics_each_must_be_possible_that_was_measured() -> None:
    found = summarize(evaluations({"BBOX": 0.4, "SEGM": 1.7}, {"BBOX": 1.7}, {"BBOX": 0.4}))
    assert [goal(BOTH).possible(found, each) for each in found.evaluations] == [False, False, True]


@pytest.mark.parametrize(
    ("spec", "attempts", "failures", "targets"),
    [
        ({"benchmark": "gnmt"}, 10, 1, {"bleu": 21.8}),  # as many attempts as the round asks for
        ({"benchmark": "ncf"}, 100, 50, {"hit_rate_at_10": 0.635}),
        ({"benchmark": "ncf", "attempts": 3}, 3, 50, {"hit_rate_at_10": 0.635}),
        ({"benchmark": "novel", "quality": {"target": "40"}}, 5, 1, {"quality": 40.0}),
        ({"benchmark": "novel", "quality": {"target": "40"}, "attempts": 2}, 2, 1, {"quality": 40.0}),
    ],
)
def test_how_many_attempts_a_run_makes_and_for_which_targets(spec, attempts, failures, targets) -> None:
    asked = {"round": "v0.5", "quality": None, "attempts": None, **spec}
    found = goal_for(ex.spec(**asked), load_rounds())
    assert (found.attempts, found.max_failures, found.targets) == (attempts, failures, targets)


def test_a_custom_metric_is_not_an_accuracy() -> None:
    """It may exceed 1 even where its target does not."""
    custom = goal_for(ex.spec(benchmark="novel", quality={"target": "0.9"}), load_rounds())
    assert custom.reached(summarize(evaluations(1.7)))


@pytest.mark.parametrize(
    ("round_", "division", "own_target", "init", "binding"),
    [
        ("v0.6", "closed", False, 1200, True),
        ("v0.6", "outOfTheBox", False, 1200, True),
        ("v0.6", "open", False, None, False),
        ("v0.6", "open", True, None, True),  # it missed a target that it has set itself
        (None, "closed", False, None, True),
    ],
)
def test_what_the_division_of_a_published_log_asks_for(round_, division, own_target, init, binding) -> None:
    rounds = load_rounds()
    benchmark = rounds["v0.6"].benchmarks["resnet"]
    found = goal_of_log("resnet", benchmark, rounds.get(round_), division, own_target=own_target)
    assert (found.max_init_seconds, found.binding, bool(found.other_benchmarks)) == (init, binding, bool(round_))


def test_minigo_is_evaluated_after_the_clock_in_any_division() -> None:
    """And a benchmark of which nothing is published is not."""
    rounds = load_rounds()
    for name, division, offline in (("minigo", "closed", True), ("minigo", "open", True), ("ssd", "closed", False)):
        round_ = rounds["v1.0"]
        found = goal_of_log(name, round_.benchmarks[name], round_, division)
        assert (found.evaluated_offline, found.published is not None) == (offline, division == "closed"), name
    assert not goal_of_log("novel", rounds["v0.5"].benchmarks["resnet"], rounds["v0.5"], "closed").evaluated_offline


def test_a_run_changes_the_target_and_never_the_direction() -> None:
    rounds = load_rounds()
    spec = ex.spec(round="v3.1", benchmark="gpt3", quality={"target": "3.5"})
    ((quality,),) = [goal_for(spec, rounds).qualities]
    assert (quality.target, quality.lower_is_better) == (3.5, True)


def test_a_quality_that_passed_through_32_bits_reaches_the_target():
    """NVIDIA's v0.5 GNMT: a BLEU of 21.80 is logged as 21.799999237060547; what no rounding explains is not enough."""
    for value, is_reached in ((21.799999237060547, True), (21.7999978, False)):
        line = f':::MLPv0.5.0 gnmt 1541782673.5 (train.py:464) eval_accuracy: {{"epoch": 1, "value": {value!r}}}'
        assert bool(goal({"bleu": 21.8}).reached(summarize(parse([line])[0]))) == is_reached


LOSS = {"log_perplexity": 2.69}
RATIOS = {
    "an accuracy from 0": (SINGLE, {}, evaluations(0.3, 0.3795), 0.5),
    "a loss from its first evaluation": (LOSS, {"lower_is_better": True}, evaluations(7.5, 6.0, 5.095), 0.5),
    "the first evaluation of a loss": (LOSS, {"lower_is_better": True}, evaluations(7.5), 0),
    "a loss that rises": (LOSS, {"lower_is_better": True}, evaluations(7.5, 9), 0),
    "a loss at its target": (LOSS, {"lower_is_better": True}, evaluations(7.5, 2.69), 1),
    "a first loss at its target": (LOSS, {"lower_is_better": True}, evaluations(2.5), 1),
    "back above the target it began at": (LOSS, {"lower_is_better": True}, evaluations(2.69, 3), 0),
    "back above the target it began below": (LOSS, {"lower_is_better": True}, evaluations(2.5, 3), 0),
    "a first loss that cannot be": (LOSS, {"lower_is_better": True}, evaluations(-1, 7.5), 0),
    "a first loss of one of two metrics": (
        {"a": 1.0, "b": 1.0},
        {"lower_is_better": True},
        evaluations({"a": 7.5}, {"a": 4.25, "b": 4.0}),
        0,
    ),
    "a loss that cannot be": (LOSS, {"lower_is_better": True}, evaluations(7.5, -1), 0),
    "an accuracy that cannot be": (SINGLE, {}, evaluations(1.7), 0),
    "of two metrics the one farther away": (BOTH, {}, evaluations({"BBOX": 0.377, "SEGM": 0.2712}), 0.8),
    "one of two metrics": (BOTH, {}, evaluations({"BBOX": 0.4}), 0),
    "BLEU of v0.7 against a target in percent": (BLEU, {}, evaluations(0.12), 0.5),
    "a custom target below 0": ({"reward": -2.0}, {"bounded": False}, evaluations(-10, -6), 0.5),
    "a custom target below 0 that it began above": ({"reward": -2.0}, {"bounded": False}, evaluations(-1, -6), 0),
    "a custom target of 0": ({"reward": 0.0}, {"bounded": False}, evaluations(-10, -5), 0.5),
    "no evaluation": (SINGLE, {}, [], None),
    "no target": ({}, {}, evaluations(0.5), None),
}


@pytest.mark.parametrize(("targets", "more", "events", "ratio"), RATIOS.values(), ids=RATIOS)
def test_how_much_of_the_way_to_the_target_is_done(
    targets: dict[str, float], more: dict[str, bool], events: list[Event], ratio: float | None
) -> None:
    assert goal(targets, **more).ratio(summarize(events)) == (ratio if ratio is None else pytest.approx(ratio))


def test_an_evaluation_is_shown_in_the_unit_of_its_target() -> None:
    bleu, both = summarize(evaluations(0.2435)), summarize(evaluations({"SEGM": 0.342, "BBOX": 0.381, "speed": 5}))
    other = summarize(evaluations({"a": 1, "b": 2}))
    assert goal(BLEU).render(bleu, bleu.evaluations[0]) == "24.35"
    assert goal(BOTH).render(both, both.evaluations[0]) == "0.381/0.342"
    assert goal(SINGLE).render(other, other.evaluations[0]) == "1/2", "no metric of the goal: as logged"
    assert goal({}).values(other, other.evaluations[0]) == {"a": 1, "b": 2}, "no target: as logged"
