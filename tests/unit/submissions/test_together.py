"""Logs of one result against each other and against its system: copies, attempts that train faster than the others,
numbers and settings, from both sides of each bound."""

from __future__ import annotations

import pytest

from podium.mllog import Evaluation, LogSummary, Segment
from podium.rounds import Published, load_rounds
from podium.rules.system import FIELDS
from podium.submissions.together import (
    about_files,
    claimed_system,
    copies,
    copies_elsewhere,
    different_settings,
    names_nobody,
    platform_note,
    uneven_pace,
    unnamed_submitter,
)
from podium.submissions.tree import Folder, Log, ResultPath

ROW = (0.31, 0.42, 0.53, 0.64)


def log(values, *, name="one", epochs=None, benchmark="resnet"):
    """A log with these evaluations, one an epoch."""
    epochs = range(1, len(values) + 1) if epochs is None else epochs
    evaluations = (Evaluation(0.0, epoch, {"top1": value}, None) for epoch, value in zip(epochs, values, strict=True))
    return Log(name, 0, LogSummary(benchmark=benchmark, evaluations=tuple(evaluations)))


def moved(values, by):
    """The last value is another one."""
    return (*values[:-1], values[-1] + by)


UNKNOWN = [None] * 4
LARGE = tuple(100 * value for value in ROW)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        # noise that hides a copy
        (log(ROW), log(ROW), True),
        (log(ROW), log(moved(ROW, 4.9e-5)), True),
        (log(ROW), log(moved(ROW, -4.9e-5)), True),
        (log(ROW), log(moved(ROW, 5.1e-5)), False),
        (log(LARGE), log(moved(LARGE, 0.0031)), True),  # relative to large values
        (log(LARGE), log(moved(LARGE, 0.0033)), False),
        # a few come close by chance, so that they have to be equal
        (log(ROW[:3]), log(ROW[:3]), True),
        (log(ROW[:3]), log(moved(ROW[:3], 1e-6)), False),
        (log(ROW[:3]), log((ROW[0] + 1e-6, *ROW[1:3])), False),
        (log(ROW[:2]), log(ROW[:2]), False),
        # at other points, or at some of them only
        (log(ROW), log(ROW, epochs=[2, 3, 4, 5]), True),
        (log(ROW), log(ROW[:3]), True),
        (log(ROW[:3]), log(ROW), True),
        (log(ROW), log((ROW[0], 0.8, 0.9), epochs=[1, 8, 9]), False),
        (log(ROW), log(ROW[1:], epochs=[2, 3, 4]), True),
        (log((*ROW, 0.7)), log(ROW[:3], epochs=[2, 3, 4]), False),
        (log((*ROW, 0.7)), log((*ROW[:3], 0.9, 0.7), epochs=[1, 2, 3, 4, 6]), False),
        # where no points are logged, in their order
        (log(ROW, epochs=UNKNOWN), log(ROW, epochs=UNKNOWN), True),
        (log(ROW, epochs=UNKNOWN), log(ROW[::-1], epochs=UNKNOWN), False),
        (log(ROW, epochs=[1, 1, 2, 2]), log(ROW, epochs=[1, 1, 2, 2]), True),  # two results of one point
        (log(ROW, epochs=[1, 1, 2, 2]), log((0.5, *ROW[1:]), epochs=[1, 1, 2, 2]), False),
    ],
)
def test_copies_within_a_result(one, other, same):
    found = list(copies([one, Log("other", 1, other.summary)]))
    assert [finding.field for finding in found] == ["other"] * same
    assert all("are the same as in one" in finding.message for finding in found)


def test_a_copy_is_named_once_and_so_is_each_copy_of_it():
    logs = [log(ROW, name="a"), log((0.1, *ROW[1:]), name="b"), log(ROW, name="c"), log(ROW, name="d")]
    found = [(finding.field, finding.message.rpartition(" ")[2]) for finding in copies(logs)]
    assert found == [("c", "a"), ("d", "a")]


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (log(ROW), True),
        (log(moved(ROW, 1.9e-5)), True),
        (log(moved(ROW, 2.1e-5)), False),  # there are more results than attempts, so more come close by chance
        (log(ROW[:3]), False),
        (log((*ROW, 0.7)), False),
        (log(ROW, benchmark="ssd"), False),
    ],
)
def test_copies_from_another_result(other, same):
    found = list(copies_elsewhere([[log(ROW)], [Log("other", 0, other.summary)]]))
    assert [finding.field for finding in found] == ["other"] * same
    assert all("the same as in one, of another result" in finding.message for finding in found)


def test_copies_within_a_result_are_not_named_as_those_of_another():
    assert list(copies_elsewhere([[log(ROW), log(ROW)]])) == []


def paced(*seconds):
    return [
        Log(f"{n}", n, LogSummary(segments=(Segment(2.0, False, each, 1.0, None),))) for n, each in enumerate(seconds)
    ]


@pytest.mark.parametrize(
    ("logs", "bound", "named"),
    [
        (paced(10, 10, 9), 0.9, []),
        (paced(10, 10, 8.9), 0.9, ["2"]),
        (paced(8.9, 10, 8.9, 10, 10), 0.9, ["0", "2"]),
        (paced(10, 10, 30), 0.9, []),  # a slow one wins nothing
        (paced(10, 5), 0.9, []),  # of two, nobody knows which is right
        ([*paced(10, 5), log(ROW)], 0.9, []),
        (paced(10, 10, 5), None, []),
    ],
)
def test_an_attempt_that_trains_faster_than_the_others(logs, bound, named):
    assert [finding.field for finding in uneven_pace(logs, Published(run=bound))] == named
    assert list(uneven_pace(logs, None)) == []


def folder_of(*summaries, path="acme/results/box/resnet", indices=None, **known):
    """The logs of one entry, numbered from 0."""
    numbers = range(len(summaries)) if indices is None else indices
    logs = tuple(Log(f"{path}/result_{n}.txt", n, each) for n, each in zip(numbers, summaries, strict=True))
    return Folder(path, ResultPath("v4.0", "acme", True, "box", "resnet"), logs, **known)


def numbered(*indices, **known):
    return folder_of(*(LogSummary(lines=1) for _ in indices), indices=indices, **known)


def attempts(*indices, **more):
    return {"attempts": [{"index": n} for n in indices], **more}


MISSING, FILES = "review.runs.missing", "score.files"
PATH = "acme/results/box/resnet"


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        (numbered(0, 1, 2), []),
        (numbered(3, 4), []),  # from any number on
        (numbered(), []),
        (numbered(0, 2), [(MISSING, PATH, "attempt 1 is missing")]),
        (numbered(0, 2, path=""), [(MISSING, ".", "attempt 1 is missing")]),
        # the tries that a result of Podium's lists
        (numbered(1, 2, result=attempts(1, 2)), []),
        (numbered(1, result=attempts(1, 2)), [(MISSING, PATH, "attempt 2 is missing")]),
        (numbered(1, 3, result=attempts(1)), [(FILES, PATH, "attempt 3 is not in result.json; it is counted")]),
        (numbered(2, result=attempts(2, "x")), []),
        (numbered(1, result={"attempts": ["x", {"index": 1}]}), []),
        (numbered(0, 2, result={"attempts": "many"}), [(MISSING, PATH, "attempt 1 is missing")]),
        # names that are none, or used twice
        (numbered(0, same_number=((f"{PATH}/result_00.txt", f"{PATH}/result_0.txt"),)),
         [(FILES, f"{PATH}/result_00.txt", "has the same number as result_0.txt; both are counted")]),
        (numbered(0, stray=("result-1.txt",)),
         [(FILES, "result-1.txt", "is not named result_<number>.txt; it is not counted")]),
        (numbered(0, 1, unnumbered=(f"{PATH}/result_1.txt",)),
         [(FILES, f"{PATH}/result_1.txt", "is not named result_<number>.txt; it is counted")]),
        (numbered(0, 1, unnumbered=(f"{PATH}/result_0.txt", f"{PATH}/result_1.txt")), []),
    ],
)  # fmt: skip
def test_numbers_of_attempts(folder, expected):
    assert [(str(f.rule), f.field, f.message) for f in about_files(folder)] == expected


@pytest.mark.parametrize(
    ("own", "designated", "missing"),
    [
        (f"{PATH}/copy", [1, 2], []),
        (f"{PATH}/copy", [1, 2, 3], [3]),
        (f"{PATH}/copy", [], [3]),  # no attempts are designated, so all are handed in
        (PATH, [1, 2], [3]),  # the result itself has every attempt
    ],
)
def test_a_package_hands_in_the_attempts_that_count(own, designated, missing):
    result = attempts(1, 2, 3, score={"designated": designated})
    folder = numbered(1, 2, own=own, result=result)
    found = [finding.message for finding in about_files(folder)]
    assert found == [f"attempt {number} is missing" for number in missing]


def logged(lines=1, **submission):
    return LogSummary(lines=lines, submission=submission)


def with_settings(*, lines=1, run_stop=1.0, **hyperparameters):
    return LogSummary(lines=lines, run_stop=run_stop, hyperparameters=hyperparameters)


@pytest.mark.parametrize(
    ("summaries", "messages"),
    [
        ([with_settings(lr=1), with_settings(lr=1)], []),
        ([with_settings(lr=1), with_settings(lr=2)], ["the attempts differ in lr: 1, 2"]),
        ([with_settings(lr=1, b=2), with_settings(lr=1)], ["the attempts differ in b: 2, None"]),
        ([with_settings(lr=1, b=2), with_settings(lr=1, run_stop=None)], []),  # it was cut off before
        ([with_settings(lr=1), with_settings(lr=2, run_stop=None)], ["the attempts differ in lr: 1, 2"]),
        ([with_settings(lr=1), with_settings(lines=0)], []),
        (
            [with_settings(b=1, lr=1), with_settings(b=2, lr=2)],
            ["the attempts differ in b: 1, 2", "the attempts differ in lr: 1, 2"],
        ),
        ([with_settings(lr=n) for n in range(7)], ["the attempts differ in lr: 0, 1, 2, 3, 4"]),
    ],
)
def test_settings_that_differ(summaries, messages):
    assert [finding.message for finding in different_settings(folder_of(*summaries), None)] == messages


def test_what_a_rounds_logs_repeat_at_each_change_may_differ():
    round_ = load_rounds()["v0.5"]
    (key, *_) = round_.log_rules.schedules
    folder = folder_of(*(with_settings(**{key: n, "b": n}) for n in (1, 2)))
    assert [f.message for f in different_settings(folder, round_)] == ["the attempts differ in b: 1, 2"]


@pytest.mark.parametrize(
    ("system", "logs", "rules"),
    [
        ({}, [logged(division="closed")], []),
        ({"division": "Closed "}, [logged(division="closed")], []),
        ({"division": "open"}, [logged(division="closed")], ["review.division"]),
        ({"division": ""}, [logged(division="closed")], ["review.division"]),
        ({"division": "open"}, [logged()], []),
        ({"division": "open"}, [logged(0, division="closed")], []),  # an empty log
        ({"name": "box"}, [logged(division="closed", org="acme", status="cloud")], []),  # claims nothing
        ({"submitter": "ACME Inc."}, [logged(org="acme")], []),
        ({"submitter": "acme"}, [logged(org="ACME Inc.")], []),
        ({"submitter": "Dell, NVIDIA"}, [logged(org="NVIDIA-Dell")], []),
        ({"submitter": "Dell"}, [logged(org="NVIDIA")], ["review.org"]),
        ({"submitter": "Dell"}, [logged(org="Dell"), logged(org="NVIDIA")], ["review.org"]),
        ({"submitter": ""}, [logged(org="NVIDIA")], ["review.org"]),
        ({"submitter": "Dell"}, [logged(org="SUBMISSION_ORG_PLACEHOLDER")], []),
        ({"status": "Available on-premise"}, [logged(status="onprem")], []),
        ({"status": "Available cloud"}, [logged(status="onprem")], ["review.status"]),
        ({"status": "available"}, [logged(status="onprem")], []),
        ({"status": "available"}, [logged(status="cloud")], []),
        ({"status": "available"}, [logged(status="preview")], ["review.status"]),
        ({"status": "RDI"}, [logged(status="research")], []),
        ({"status": "RDI"}, [logged(status="whatever")], []),
        ({"number_of_nodes": "2", "accelerators_per_node": "8"}, [LogSummary(lines=1, ranks=16)], []),
        ({"number_of_nodes": "2", "accelerators_per_node": "8"}, [LogSummary(lines=1)], []),
        ({"number_of_nodes": "2", "accelerators_per_node": "8"}, [LogSummary(lines=1, ranks=8)], ["review.chips"]),
        ({"number_of_nodes": "2"}, [LogSummary(lines=1, ranks=8)], []),
        ({"name": "box"}, [logged(platform="one"), logged(platform="other")], ["review.platform"]),
    ],
)
def test_a_system_and_the_logs(system, logs, rules):
    found = claimed_system(folder_of(*logs, system=system), "v0.7")
    assert [str(finding.rule) for finding in found] == rules


@pytest.mark.parametrize(
    ("round_", "system", "count"),
    [
        ("v0.7", {"system_name": "box"}, 0),  # MLCommons' checker asks for no field yet
        ("v1.0", {"system_name": "box"}, len(FIELDS) - 1),
        ("v1.0", {"number_of_nodes": "8"}, len(FIELDS) - 1),
        ("v1.0", {"cooling": "air"}, 0),  # the description of something else
        ("v4.0", dict.fromkeys(FIELDS, "x"), 0),  # how it is filled in is for `package` to say
    ],
)
def test_missing_fields_of_a_description(round_, system, count):
    found = list(claimed_system(folder_of(logged(), system=system), round_))
    assert {str(finding.rule) for finding in found} <= {"package.system.missing"}
    assert len(found) == count


@pytest.mark.parametrize(
    ("platforms", "others", "messages"),
    [
        (["box"], ("dgx",), []),
        (["BOX_"], ("box",), []),
        (["dgx"], ("box", "dgx"), ["the logs are of dgx, another system of the package"]),
        (["D-G-X"], ("dgx",), ["the logs are of D-G-X, another system of the package"]),
        (["dgx", "box"], ("dgx",), ["the logs are of dgx, another system of the package"]),
        (["dgx", "box"], (), ["the logs are of several platforms: box, dgx"]),
        (["My Box"], ("my-box",), []),  # the system's own name
        (["", "box"], (), []),
    ],
)
def test_platforms(platforms, others, messages):
    logs = [logged(platform=name) for name in platforms]
    folder = folder_of(*logs, system={"system_name": "my box"}, other_systems=others)
    assert [finding.message for finding in claimed_system(folder, "v0.7")] == messages


@pytest.mark.parametrize(
    ("name", "platforms", "odd"),
    [
        ("my box", ["MyBox"], ""),
        ("my box", ["my box of 8 nodes"], ""),
        ("my box of 8 nodes", ["my-box"], ""),
        ("dgx", ["box"], ""),  # the name of its folder
        ("", ["dgx"], ""),
        ("my box", [""], ""),
        ("my box", ["dgx", "box"], "dgx"),
        ("my box", ["tpu", "dgx"], "dgx, tpu"),
    ],
)
def test_a_note_on_other_names(name, platforms, odd):
    folder = folder_of(*(logged(platform=each) for each in platforms), system={"system_name": name})
    said = f"the logs name the platform {odd}, the description names the system {name}"
    assert platform_note(folder) == (said if odd else "")


@pytest.mark.parametrize(
    ("result", "org", "nobody"),
    [
        ({"division": "closed"}, "podium", True),
        ({"division": "outOfTheBox"}, "podium", True),
        ({"division": "open"}, "podium", False),
        ({"division": "closed"}, "ACME", False),
        ({}, "podium", False),  # not one of Podium's
    ],
)
def test_results_that_nobody_can_submit(result, org, nobody):
    folder = folder_of(logged(org=org, status="onprem"), result=result, system={"submitter": "x", "status": "cloud"})
    assert names_nobody(folder) is nobody
    assert [str(finding.rule) for finding in unnamed_submitter(folder)] == ["log.submitter"] * nobody
    claims = [str(finding.rule) for finding in claimed_system(folder, "v0.7")]
    assert claims == ([] if nobody else ["review.org", "review.status"])
