"""scaling.json against the reference convergence points, from both sides of each bound."""

from __future__ import annotations

import pytest

from podium.mllog import LogSummary
from podium.rounds import load_rounds
from podium.submissions.scaling import Asked, batch_size, scaling_of
from podium.submissions.tree import Folder, ResultPath

NOWHERE = ResultPath("", "", submitter_is_sure=False, system="", benchmark="")
RESNET = load_rounds()["v3.0"].benchmarks["resnet"]
MEAN = RESNET.reference_point(3264).mean  # epochs
LOG = LogSummary(lines=1, global_batch_size=3264)
COUNTS = (1, 35, 35, 35, 99)  # of which the score drops the fastest and the slowest
DUE = MEAN / 35


def scaled(value, path="", **changes):
    known = {"divisions": {"closed"}, "logs": [LOG] * 5, "counts": COUNTS, "rules": RESNET, "round": "v3.0"}
    asked = Asked(benchmark="resnet", **{**known, **changes})
    factor, found = scaling_of(Folder(path, NOWHERE, (), scaling=value), asked)
    return factor, [finding.message for finding in found]


def wrong(value, due):
    return [f"scaling_factor is {value:.6g}, the reference points give {due:.6g}"]


@pytest.mark.parametrize(
    ("value", "factor", "messages"),
    [
        (None, 1.0, []),
        (DUE, DUE, []),
        (DUE * 1.00099, DUE * 1.00099, []),  # rounded
        (DUE * 0.99901, DUE * 0.99901, []),
        (DUE * 1.00101, DUE, wrong(DUE * 1.00101, DUE)),
        (DUE * 0.99899, DUE, wrong(DUE * 0.99899, DUE)),
        (1, DUE, wrong(1, DUE)),
        (0.5, DUE, wrong(0.5, DUE)),
        (0, 1.0, ["scaling_factor 0 is not a positive number"]),
        (-1.5, 1.0, ["scaling_factor -1.5 is not a positive number"]),
        (True, 1.0, ["scaling_factor True is not a positive number"]),
        ("1.1", 1.0, ["scaling_factor '1.1' is not a positive number"]),
    ],
)
def test_what_the_reference_points_give_is_applied(value, factor, messages):
    assert scaled(value) == (factor, messages)


def test_the_factor_has_no_largest_value_where_the_points_give_it():
    assert scaled(MEAN, counts=[1] * 5) == (MEAN, [])


def test_attempts_slower_than_the_reference_are_not_made_faster():
    assert scaled(0.9, counts=[40] * 5) == (1.0, wrong(0.9, 1))


UNKNOWN = "it is not between 1 and 1.2, and nothing confirms it"


@pytest.mark.parametrize(
    "without",
    [
        {"rules": RESNET.model_copy(update={"reference_points": ()})},
        {"logs": [LOG, LogSummary(lines=1, global_batch_size=6528)]},
        {"logs": [LogSummary(lines=1)]},
        {"counts": [35, 35, 35, None, None]},
        {"counts": [0] * 5},
        {"counts": [-1] * 5},
    ],
    ids=["points", "one batch size", "a batch size", "convergence", "epochs", "a mean above 0"],
)
def test_without_a_reference_only_a_plausible_factor_is_applied(without):
    applied = "no reference point confirms the scaling_factor {}, which is applied"
    for value in (1, 1.1, 1.2):
        assert scaled(value, **without) == (value, [applied.format(value)])
    for value in (0.99, 1.21):
        assert scaled(value, **without) == (1.0, [f"scaling_factor {value} is not applied: {UNKNOWN}"])


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"divisions": {"open"}}, "the open division has no reference points"),
        ({"round": "v1.0"}, "v1.0 scales no score"),
        ({"round": ""}, "its round scales no score"),
    ],
)
def test_where_no_factor_applies_none_is_right(changes, why):
    for value in (1, 1.1, DUE):
        assert scaled(value, **changes) == (1.0, [f"scaling_factor {value:.6g} is not applied: {why}"])


def test_logs_of_both_divisions_are_held_to_the_closed_one():
    assert scaled(DUE, divisions={"open", "closed"}) == (DUE, [])


@pytest.mark.parametrize(
    ("logs", "size"),
    [([], None), ([LOG], 3264), ([LOG, LOG], 3264), ([LOG, LogSummary(lines=1, global_batch_size=1)], None),
     ([LOG, LogSummary(lines=1)], None), ([LOG, LogSummary()], 3264)],
)  # fmt: skip
def test_the_batch_size_is_that_of_all_logs_with_a_line(logs, size):
    assert batch_size(logs) == size


@pytest.mark.parametrize(("path", "where"), [("", "scaling.json"), ("acme/resnet", "acme/resnet/scaling.json")])
def test_the_finding_names_the_file(path, where):
    asked = Asked("v3.0", "resnet", RESNET, {"closed"}, [LOG], COUNTS)
    ((finding,),) = (scaling_of(Folder(path, NOWHERE, (), scaling=value), asked)[1] for value in (9,))
    assert (str(finding.rule), finding.field) == ("score.scaling", where)
