"""Why no package is made of a result, and what is in one: results in memory, without MLCommons' checker."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.metadata import version

import pytest
import yaml

from podium.rounds import load_rounds
from podium.rules import Finding
from podium.submissions.check import Checked
from podium.submissions.entries import score_folder
from podium.submissions.package import (
    ReviewedResult,
    Submission,
    check_submission,
    faults,
    files_of,
    is_closed,
    kept_files,
    other_program,
    packaged_logs,
)
from podium.submissions.tree import read_folders
from tests.unit.cli.logs import mllog, v07_run
from tests.unit.cli.test_package import SYSTEM
from tests.unit.submissions.test_ledgers import Files

ROUNDS = load_rounds()
RESULT = {"podium": "0.1.0", "round": "v0.6", "benchmark": "resnet", "division": "closed", "system": {"name": "box"}}
RUN = {"spec": {"round": "v0.6", "benchmark": "resnet"}}
CODE = {"train.py": b"print()\n"}


def log(number, quality=0.76, division=""):
    lines = v07_run("resnet", 60 + number, quality, "success" if quality > 0.7 else "aborted")
    return "\n".join([*([mllog("submission_division", division, -5)] if division else []), *lines, ""]).encode()


def own(result=None, run=RUN, logs=None, **files):
    """A result of Podium's with five attempts."""
    stored = {f"attempts/{n:03}/result.txt": text for n, text in enumerate(logs or map(log, range(5)), start=1)}
    documents = {"result.json": json.dumps({**RESULT, **(result or {})}).encode()}
    runs = {} if run is None else {"run.yaml": run if isinstance(run, bytes) else yaml.safe_dump(run).encode()}
    return part_of(Files({**stored, **documents, **runs, **files}))


def others(logs=None, round_="v0.6", benchmark="resnet"):
    """A result of somebody else's trainer."""
    texts = enumerate(logs or map(log, range(5)))
    return part_of(Files({f"acme/results/box/{benchmark}/result_{n}.txt": text for n, text in texts}), round_)


def part_of(store, round_=None):
    (folder,) = read_folders(store)
    return ReviewedResult(store, folder, score_folder(folder, ROUNDS, round_), ())


def refused(*parts, code=None, system=SYSTEM):
    found = check_submission(parts, Submission("acme", "box", system, code=code), ROUNDS)
    return [(str(f.rule), f.field, f.message) for f in found]


@pytest.mark.parametrize(
    ("parts", "code", "found"),
    [
        ([own()], None, []),
        ([others()], CODE, []),
        ([others()], None,
         [("package.code", "resnet", "the implementation is missing: this result is not from Podium's trainers")]),
        ([own(), own()], None, [("package.twice", "resnet", "2 results of one benchmark")]),
        ([own(), others(round_="v0.7", benchmark="ssd")], CODE,
         [("package.round", ".", "results of 2 rounds: v0.6, v0.7")]),
        ([own({"round": "v0.4"})], None, [("package.round", "result.json", "'v0.4' is not a known round")]),
        ([others(round_="v0.4")], CODE,
         [("package.round", "acme/results/box/resnet", "'v0.4' is not a known round")]),
        ([own({"benchmark": "digits"})], None,
         [("package.benchmark", "result.json", "'digits' is not a benchmark of v0.6")]),
        ([own({"benchmark": "ncf"})], None,
         [("package.benchmark", "result.json", "v0.6 suspended ncf and published no results for it")]),
        ([own({"podium": "0.1.0; rm -rf /"})], None,
         [("package.version", "result.json", "\"podium\" is '0.1.0; rm -rf /', not a version")]),
        ([own({"podium": "0.1.0\n"})], None,
         [("package.version", "result.json", "\"podium\" is '0.1.0\\n', not a version")]),
        ([own({"podium": "0.2.0rc1.dev3+abc.1"})], None, []),
    ],
)  # fmt: skip
def test_why_no_package_is_made(parts, code, found):
    assert refused(*parts, code=code) == found


def test_the_remedy_of_a_suspended_benchmark_is_a_round_that_holds_it():
    found = check_submission([own({"benchmark": "ncf"})], Submission("acme", "box", SYSTEM), ROUNDS)
    assert [f.remedy for f in found] == ["run it under v0.5"]


def test_the_description_is_held_to_the_round_of_the_results():
    """v4.0 has a list of statuses, v0.6 has not."""
    found = refused(others(round_="v4.0"), code=CODE, system=SYSTEM | {"status": "ours"})
    assert [(rule, where) for rule, where, _ in found] == [("package.system.status", "box.json: status")]
    assert refused(others(), code=CODE, system=SYSTEM | {"status": "ours"}) == []


@pytest.mark.parametrize(
    ("run", "why"),
    [
        (RUN, ""),
        ({"spec": {"template": {"image": "", "args": []}}}, ""),
        ({"spec": None}, ""),
        ({"spec": {"template": {"image": "registry/own:1"}}}, "run.yaml sets template.image"),
        ({"spec": {"template": {"args": ["--fast"], "command": ["train"]}}}, "run.yaml sets template.command"),
        ({"spec": {"template": {"args": ["--fast"]}}}, "run.yaml sets template.args"),
        (None, "there is no readable run.yaml"),
        (b"[1]", "there is no readable run.yaml"),
        (b"a: 1\n---\nb: 1\n", "there is no readable run.yaml"),
        (b"spec: text\n", "there is no readable run.yaml"),
    ],
)
def test_what_the_scripts_of_a_package_would_start(run, why):
    message = other_program(own(run=run))
    assert message == (f"{why}: it does not start Podium's trainer" if "sets" in why else why)


@pytest.mark.parametrize(
    ("part", "closed"),
    [
        (own(), True),
        (own({"division": "outOfTheBox"}), True),
        (own({"division": "open"}), False),
        (own(logs=[log(1, division="open")]), True),  # the result decides
        (others(), True),
        (others([log(1, division="CLOSED")]), True),
        (others([log(1, division="Open")]), False),
        (others([log(1), log(2, division="open")]), False),
    ],
)
def test_what_is_held_to_the_closed_rules(part, closed):
    assert is_closed(part.folder) is closed


RULE, UNSAFE = Finding("log.seed.missing", "", "no seed"), Finding("mlperf.rules", "", "no such rules")
CLAIM = Finding("log.quality.claim", "", "no success")


def with_faults(logs, *wrong, verdict="verdict"):
    """A result in which the logs with these numbers break two rules."""
    part = others(logs)
    names = [f"acme/results/box/resnet/result_{number}.txt" for number in wrong]
    return replace(
        part, checked=tuple(Checked(name, "v0.6", "resnet", True, verdict, (RULE, UNSAFE)) for name in names)
    )


FAILED = log(9, quality=0.5)
GOOD = [log(n) for n in range(4)]


@pytest.mark.parametrize(
    ("part", "found"),
    [
        (with_faults([*GOOD, log(4)]), []),
        (with_faults([*GOOD, log(4)], 1), [RULE, UNSAFE]),
        (with_faults([*GOOD, log(4)], 1, 2), [RULE, UNSAFE] * 2),
        # of an attempt that did not converge, and that the score leaves out
        (with_faults([*GOOD, FAILED]), []),
        (with_faults([*GOOD, FAILED], 4), [UNSAFE]),
        (with_faults([*GOOD, FAILED], 1, 4), [RULE, UNSAFE, UNSAFE]),
    ],
)
def test_a_log_that_breaks_rules_is_tolerated_if_its_attempt_is_left_out(part, found):
    assert list(faults(part)) == found


def test_more_failures_than_are_dropped_are_not_tolerated():
    part = with_faults([*GOOD[:3], FAILED, log(8, quality=0.4)], 3, 4)
    score, *rest = faults(part)
    assert score.message == "invalid: 2 attempts did not converge, at most 1 may be dropped as the slowest"
    assert rest == [RULE, UNSAFE] * 2


def test_logs_that_are_not_handed_in_are_not_held_to_the_rules():
    """Of six attempts, five are."""
    part = with_faults([*GOOD, log(4), log(40)], 0, 5)
    (left,) = [number for number in (0, 5) if not part.entry.score.counts(number)]
    assert list(faults(part)) == [RULE, UNSAFE]
    alone = replace(part, checked=tuple(each for each in part.checked if each.log.endswith(f"result_{left}.txt")))
    assert list(faults(alone)) == []
    together = replace(alone, checked=tuple(replace(each, verdict=None) for each in alone.checked))
    assert list(faults(together)) == [RULE, UNSAFE], "what is wrong with all logs together is"


def test_a_success_that_is_none_is_never_tolerated():
    part = others()
    assert list(faults(replace(part, entry=replace(part.entry, findings=(RULE, CLAIM))))) == [CLAIM]


def test_a_rate_is_no_score():
    part = own({"measure": {"duration": "1m"}})
    assert part.entry.goal.window is not None
    assert [f.message for f in faults(part)] == ["not official: the run measures the rate, not the time to train"]


def test_the_logs_of_a_package_are_numbered_from_0():
    submission = Submission("acme", "box", SYSTEM)
    logs = packaged_logs([own()], submission)
    assert logs == {f"acme/results/box/resnet/result_{n}.txt": f"attempts/{n + 1:03}/result.txt" for n in range(5)}
    kept = {path: key for path, _, key in kept_files([own(), others()], submission)}
    assert kept == {f"acme/podium/box/resnet/{key}": key for key in own().store.list()}


@pytest.mark.parametrize(("scaling", "written"), [(1.0, None), (1.05, 1.05)])
def test_a_factor_is_written_where_there_is_one(scaling, written):
    part = others()
    folder = replace(part.folder, scaling=scaling)
    part = replace(part, folder=folder, entry=replace(part.entry, scaling=scaling))
    files = files_of([part], Submission("acme", "box", SYSTEM, code=CODE))
    found = files.get("acme/results/box/resnet/scaling.json")
    assert (found and json.loads(found)["scaling_factor"]) == written
    assert files["acme/benchmarks/resnet/implementations/own/train.py"] == CODE["train.py"]


@pytest.mark.parametrize(("division", "written"), [("closed", 1.0044), ("open", None)])
def test_a_closed_result_that_converged_early_gets_the_factor_of_the_reference(division, written):
    """In 35 epochs: the reference needs 35.1538 with this batch size."""
    size = mllog("global_batch_size", 3264, -5).encode() + b"\n"
    logs = [size + log(n, division=division).replace(b'"epoch_num": 1', b'"epoch_num": 35') for n in range(5)]
    files = files_of([others(logs, "v3.0")], Submission("acme", "box", SYSTEM, code=CODE))
    found = files.get("acme/results/box/resnet/scaling.json")
    assert (found and round(json.loads(found)["scaling_factor"], 4)) == written


def test_a_result_that_names_no_version_is_of_this_one():
    setup = files_of([own({"podium": None})], Submission("acme", "box", SYSTEM | {"hw_notes": "Zürich"}))
    assert f"podium-operator=={version('podium-operator')}\n".encode() in setup["acme/benchmarks/resnet/box/setup.sh"]
    assert "Zürich".encode() in setup["acme/systems/box.json"], "text stays readable"


def test_a_package_of_podiums_trainer_starts_the_run():
    files = files_of([own({"podium": "0.1.0"})], Submission("acme", "box", SYSTEM))
    base = "acme/benchmarks/resnet"
    assert yaml.safe_load(files[f"{base}/implementations/podium/run.yaml"]) == RUN
    assert files[f"{base}/box/setup.sh"].endswith(b"pip install podium-benchmarks==0.1.0 podium-operator==0.1.0\n")
    described = json.loads(files[f"{base}/box/box_podium.json"])
    assert described == {"hyperparameters": {}, "target": {"top1": 0.759}}
    assert b"- `result_0.txt`: attempt 1\n" in files[f"{base}/box/README.md"]
    assert files["acme/results/box/resnet/result_4.txt"] == log(4)
