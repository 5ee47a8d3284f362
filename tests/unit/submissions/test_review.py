"""What a reviewer questions of results in memory: each comparison from both sides. MLCommons' checker is not asked."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import yaml

from podium.rounds import load_rounds
from podium.submissions.entries import score_folder
from podium.submissions.package import ReviewedResult
from podium.submissions.review import review
from podium.submissions.tree import read_folders
from tests.unit.cli.logs import mllog, v07_run
from tests.unit.submissions.test_ledgers import Files, sha256

BOX = "acme/results/box/resnet"
COPY = "acme/podium/box/resnet"
DESCRIBED = "acme/benchmarks/resnet/box/box_own.json"
SETTINGS = {"global_batch_size": 256, "opt_name": "lars", "opt_base_learning_rate": 0.1}


def log(number, *, settings=SETTINGS, rows=4, quality=0.76, more=()):
    """A log of a minute that converges, with its own qualities before that, as bytes."""
    lines = v07_run("resnet", 60 + number, quality)
    before = [mllog("eval_accuracy", 0.1 * n + number / 1e3, 5 + n, epoch_num=n + 2) for n in range(rows - 1)]
    named = [mllog(key, value, -1) for key, value in settings.items()]
    return ("\n".join([*named, *more, *lines[:-2], *before, *lines[-2:]]) + "\n").encode()


def as_json(document):
    return json.dumps(document).encode()


def package(**files):
    """A package of five logs, with `files` added to it, replaced, or (None) left out."""
    logs = {f"{BOX}/result_{n}.txt": log(n) for n in range(5)}
    return made({**logs, "acme/systems/box.json": as_json({"division": "closed"}), **files})


def made(files):
    return Files({key: content for key, content in files.items() if content is not None})


def parts_of(*stores, **changes):
    rounds = load_rounds()
    return [
        ReviewedResult(store, folder, replace(score_folder(folder, rounds, "v0.7"), **changes), ())
        for store in stores
        for folder in read_folders(store)
    ]


def named(found, *rules):
    return [(str(f.rule), f.field, f.message) for f in found if str(f.rule).startswith(rules)]


CLAIM, SAME, STORED, SUMS = "review.hyperparameters.claim", "review.runs.same", "review.copy", "review.sums"
ALL = (CLAIM, SAME, STORED, SUMS, "review.score", "review.system", "review.run", "review.chips", "spec.")


def test_an_honest_package():
    described = {DESCRIBED: as_json({"hyperparameters": SETTINGS})}
    assert named(review(parts_of(package(**described))), *ALL) == []


def test_copies_with_too_few_evaluations_are_known_by_their_bytes():
    short = {f"{BOX}/result_{n}.txt": log(0, rows=1) for n in (1, 2, 4)}
    assert named(review(parts_of(package(**short))), SAME) == [
        (SAME, f"{BOX}/result_{n}.txt", f"is a copy of {BOX}/result_1.txt") for n in (2, 4)
    ]


def test_a_copy_with_another_fault_is_named_as_a_copy_too():
    """It has the number of the log that it is a copy of."""
    short = {f"{BOX}/result_{n}.txt": log(0, rows=1) for n in ("1", "01")}
    (copy,) = named(review(parts_of(package(**short))), SAME)
    assert copy[2].startswith("is a copy of ")


def test_a_copy_with_many_evaluations_is_left_to_the_check_of_the_logs():
    (part,) = parts_of(package(**{f"{BOX}/result_3.txt": log(1)}))
    assert named(review([part]), SAME) == []
    message = f"all 4 evaluations are the same as in {BOX}/result_1.txt"
    assert named(part.entry.together, SAME) == [(SAME, f"{BOX}/result_3.txt", message)]


def test_a_copy_in_another_entry_is_named():
    other = made({f"acme/results/cube/resnet/result_{n}.txt": log(n + 10 * (n > 0)) for n in range(5)})
    found = named(review(parts_of(package(), other)), SAME)
    assert [where for _, where, _ in found] == ["acme/results/cube/resnet/result_0.txt"]


RESULT = {"round": "v0.7", "benchmark": "resnet", "division": "closed", "system": {"name": "box"}}


def test_a_log_of_a_package_is_the_one_that_podium_stored():
    """The package numbers them from 0, the result from 1."""
    kept = {f"{COPY}/attempts/{n:03}/result.txt": log(n - 1) for n in (1, 2, 3, 4)}
    kept[f"{COPY}/attempts/002/result.txt"] = log(9)
    result = {f"{COPY}/result.json": as_json(RESULT), **kept}
    assert named(review(parts_of(package(**result))), STORED) == [
        (STORED, f"{BOX}/result_1.txt", f"is not {COPY}/attempts/002/result.txt, the log that Podium stored"),
        (STORED, f"{BOX}/result_4.txt", "the result that Podium stored has no such attempt"),
    ]


def own(result=None, **files):
    """A result of Podium's, five attempts in 1.05 minutes each after the fastest and the slowest are dropped."""
    logs = {f"attempts/{n:03}/result.txt": log(n) for n in range(1, 6)}
    return made({**logs, "result.json": as_json({**RESULT, **(result or {})}), **files})


@pytest.mark.parametrize(
    ("minutes", "said"),
    [
        (1.05, None),
        ("1.05", None),  # as Podium writes it
        (1.05009, None),
        (1.04991, None),
        (1.05011, "1.050 minutes"),
        (1.04989, "1.050 minutes"),
        (2, "2.000 minutes"),
        (None, "no score"),
        ("fast", "no score"),
        (True, "no score"),
    ],
)
def test_the_score_in_a_result_is_that_of_its_logs(minutes, said):
    found = named(review(parts_of(own({"score": {"timeToTrainMinutes": minutes}}))), "review.score")
    message = f"result.json claims {said}, the logs give 1.050 minutes"
    assert found == ([("review.score", "resnet", message)] if said else [])


def test_a_result_that_claims_no_score_is_not_questioned():
    assert named(review(parts_of(own())), "review.score") == []
    assert named(review(parts_of(own({"score": "1.05"}))), "review.score") == []


def test_no_score_is_claimed_where_the_logs_give_none():
    logs = {f"attempts/{n:03}/result.txt": log(n, quality=0.5) for n in range(1, 6)}
    unscored = own({"score": {"timeToTrainMinutes": None}}, **logs)
    assert named(review(parts_of(unscored)), "review.score") == []
    claimed = own({"score": {"timeToTrainMinutes": 1.05}}, **logs)
    ((_, _, message),) = named(review(parts_of(claimed)), "review.score")
    assert message == "result.json claims 1.050 minutes, the logs give no score"


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"opt_base_learning_rate": 0.1, "global_batch_size": "256"}, []),
        ({"opt_base_learning_rate": 0.1 * (1 + 1e-10)}, []),
        ({"opt_base_learning_rate": 0.1 * (1 + 1e-8)}, ["opt_base_learning_rate"]),
        ({"global_batch_size": 128, "opt_name": "sgd"}, ["global_batch_size", "opt_name"]),
        ({"opt_name": 256}, ["opt_name"]),
        ({"global_batch_size": True}, ["global_batch_size"]),
        ({"unlogged": 1}, []),
        ("none", []),
    ],
)
def test_settings_that_a_package_claims_are_those_of_the_logs(settings, names):
    """Numbers are the same however they are written; what no log has is not compared."""
    found = named(review(parts_of(package(**{DESCRIBED: as_json({"hyperparameters": settings})}))), CLAIM)
    assert [message.split()[0] for _, _, message in found] == names
    assert {where for _, where, _ in found} <= {DESCRIBED}


def test_settings_are_compared_with_a_log_that_converged():
    wrong = log(0, settings={**SETTINGS, "global_batch_size": 8}, quality=0.5)
    claim = {DESCRIBED: as_json({"hyperparameters": {"global_batch_size": 8}}), f"{BOX}/result_0.txt": wrong}
    ((_, _, message),) = named(review(parts_of(package(**claim))), CLAIM)
    assert message == "global_batch_size is 8 here and 256 in the logs"


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (DESCRIBED, b"{"),
        (DESCRIBED, as_json([1])),
        (DESCRIBED, as_json({})),
        (f"{DESCRIBED}.txt", as_json({"hyperparameters": {"global_batch_size": 8}})),
        (DESCRIBED.replace("box/", "cube/"), as_json({"hyperparameters": {"global_batch_size": 8}})),
    ],
)
def test_files_that_describe_no_settings_of_the_entry(path, content):
    assert named(review(parts_of(package(**{path: content}))), CLAIM) == []


def test_logs_in_no_package_are_described_nowhere():
    claim = as_json({"hyperparameters": {"global_batch_size": 8}})
    logs = {f"box/resnet/result_{n}.txt": log(n) for n in range(5)}
    described = dict.fromkeys(["benchmarks/resnet/box/a.json", "acme/benchmarks/resnet/box/a.json"], claim)
    assert named(review(parts_of(made({**logs, **described}))), CLAIM, "review.system") == []


def test_a_package_describes_its_systems():
    found = named(review(parts_of(package(**{"acme/systems/box.json": None}))), "review.system")
    assert found == [("review.system", BOX, "there is no readable systems/box.json")]


SPEC = {
    "round": "v0.6", "benchmark": "resnet", "division": "closed",
    "system": {"name": "box", "nodes": 2, "acceleratorsPerNode": 4},
    "hyperparameters": {"global_batch_size": 256},
}  # fmt: skip


def with_ranks(count):
    return log(3, more=[mllog("number_of_ranks", count, -1)])


@pytest.mark.parametrize(
    ("changes", "files", "found"),
    [
        ({}, {}, []),
        ({"hyperparameters": {"opt_name": "lars", "global_batch_size": 256}}, {}, []),
        ({"hyperparameters": {"global_batch_size": 512}}, {},
         [(CLAIM, "run.yaml", "global_batch_size is 512 here and 256 in the logs")]),
        ({"hyperparameters": {"label_smoothing": 0.1}}, {}, []),  # that no log has
        ({}, {"attempts/003/result.txt": with_ranks(8)}, []),
        ({}, {"attempts/003/result.txt": with_ranks(4), "attempts/004/result.txt": with_ranks(2)},
         [("review.chips", "run.yaml", "the run starts 8 ranks, a log has 2, 4")]),
        ({"preset": "tiny"}, {},
         [("spec.preset.closed", "run.yaml: spec.preset",
           "tiny is not the benchmark itself; use it with division: open, or use preset: full")]),
        ({"system": {"name": "box"}}, {}, [("review.run", "resnet", "there is no readable run.yaml")]),
        ({}, {"run.yaml": None}, [("review.run", "resnet", "there is no readable run.yaml")]),
        ({}, {"run.yaml": b"[1]"}, [("review.run", "resnet", "there is no readable run.yaml")]),
        ({}, {"run.yaml": b"a: 1\n---\nb: 2"}, [("review.run", "resnet", "there is no readable run.yaml")]),
        ({}, {"run.yaml": b"#" * (4 << 20)}, "limit"),
    ],
)  # fmt: skip
def test_the_run_that_a_result_names(changes, files, found):
    store = own({}, **{"run.yaml": yaml.safe_dump({"spec": {**SPEC, **changes}}).encode(), **files})
    said = named(review(parts_of(store)), CLAIM, "review.chips", "review.run", "spec.")
    if found == "limit":
        ((_, _, message),) = said
        assert message.startswith("run.yaml is larger than ")
    else:
        assert [each for each in said if each[0] != "review.runs.missing"] == found


@pytest.mark.parametrize(("division", "asks"), [("closed", True), ("outOfTheBox", True), ("open", False)])
def test_closed_results_are_held_to_the_reference_convergence_points(division, asks):
    """34.3333 epochs on average: the reference needs 35.1538, which is not too fast, but gives a factor."""
    factor = 35.1538 / 34.3333
    for scaling, wrong in ((1.0, True), (factor * 0.9985, True), (factor * 0.9995, False), (factor * 1.1, False)):
        (part,) = parts_of(own({"division": division}))
        counts = zip(part.entry.logs.items(), (34, 34, 34, 35, 35), strict=True)
        logs = {number: reached_after(epochs, summary) for (number, summary), epochs in counts}
        rules = load_rounds()["v3.0"].benchmarks["resnet"]
        entry = replace(part.entry, round="v3.0", rules=rules, logs=logs, scaling=scaling)
        found = named(review([replace(part, entry=entry)]), "review.scaling", "review.convergence")
        assert [rule for rule, _, _ in found] == ["review.scaling"] * (wrong and asks)


def reached_after(epochs, summary):
    *earlier, last = summary.evaluations
    return replace(summary, global_batch_size=3264, evaluations=(*earlier, replace(last, epoch=epochs)))


def test_the_digests_beside_any_result_are_compared():
    def sums(**claimed):
        return "".join(f"{digest}  {name}\n" for name, digest in claimed.items()).encode()

    text, other = b"as it was", b"as it is"
    store = package(**{
        "a/SHA256SUMS": sums(one=sha256(text), gone=sha256(text)), "a/one": text,
        "b/SHA256SUMS": sums(one=sha256(text), two=sha256(other)), "b/one": other, "b/two": other,
        "c/SHA256SUMS.txt": sums(one=sha256(text)),
        "SHA256SUMS": b"x" * (1 << 20),
    })  # fmt: skip
    found = named(review(parts_of(store)), SUMS)
    assert found[0][:2] == (SUMS, "SHA256SUMS")
    assert "the limit" in found[0][2]
    assert found[1:] == [
        (SUMS, "a/SHA256SUMS", "gone is missing"),
        (SUMS, "b/one", "was changed after the result was written"),
    ]


def test_nothing_is_said_twice():
    part = parts_of(package(**{"acme/systems/box.json": None}))[0]
    found = list(review([part, part]))
    assert len(found) == len(set(found))
