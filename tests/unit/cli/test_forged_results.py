"""Results that somebody has changed: `score`, `check` and `review` name what is wrong, and none of an honest one."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from podium.rules.system import FIELDS
from tests.unit.cli.logs import lora_run, mllog, write

CASES = Path(__file__).parents[4] / "shared/cases/logs"
SYSTEM = dict.fromkeys(FIELDS, "") | {
    "submitter": "acme", "division": "closed", "status": "Available on-premise", "system_name": "box",
    "number_of_nodes": "1", "host_processors_per_node": "2", "accelerators_per_node": "8",
}  # fmt: skip
BASE = "acme/results/box/llama2_70b_lora"


@pytest.fixture
def result(tmp_path):
    """Ten honest attempts of one system in a package of v5.1, and how to change them."""
    return Result(tmp_path)


class Result:
    def __init__(self, place, edits=({},) * 10):
        self.place = place / "training_results_v5.1"
        self.folder = self.place / BASE
        self.attempts(edits)
        self.system("box")

    def attempts(self, edits):
        """Write one log for each; attempts start an hour after one another and differ in seed and loss."""
        runs = [
            lora_run(
                **{"at": 2e8 + 3600 * n, "seed": n, "noise": 0.0002 * (n * 7 % 13) - 0.002, "evaluations": 6, **edit}
            )
            for n, edit in enumerate(edits)
        ]
        write(self.folder, runs)

    def system(self, name, **fields):
        file = self.place / f"acme/systems/{name}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(SYSTEM | fields))


def rules(document):
    """The rules of all findings that a command prints."""
    entries = document["scores"] if isinstance(document, dict) else document
    found = [f for each in entries for f in each.get("findings", [])]
    return {f["rule"] for f in [*found, *(document["findings"] if isinstance(document, dict) else [])]}


def named(podium_json, place):
    return {command: rules(podium_json(command, place)[1]) for command in ("score", "check", "review")}


def test_an_honest_result_has_no_findings(podium_json, result):
    assert named(podium_json, result.place) == {"score": set(), "check": set(), "review": set()}


def test_three_evaluations_may_come_close_by_chance(podium_json, result):
    result.attempts([{"evaluations": 3, "noise": 0.0004 * n} for n in (*range(-7, 2), -6.98)])
    assert named(podium_json, result.place)["check"] == set()


def second_file(result):
    (result.folder / "result_00.txt").write_text(
        "\n".join(lora_run(at=2e8 + 9e5, seed=99, evaluations=6, noise=0.001)) + "\n"
    )


def removed(result):
    (result.folder / "result_4.txt").unlink()


def renamed(result):
    (result.folder / "result_4.txt").rename(result.folder / "result_4_old.txt")


def beside(name):
    """An attempt under a name by which no tool counts it."""
    lines = lora_run(at=2e8 + 9e5, seed=99, evaluations=6, noise=0.001)
    return lambda result: (result.folder / name).write_text("\n".join(lines) + "\n")


def noisy_copy(result):
    result.attempts([{} for _ in range(9)] + [{"noise": -0.002 + 1e-5}])  # of attempt 0


def cut_copy(result):
    copy = (
        (result.folder / "result_0.txt").read_text().replace('"key": "seed", "value": 0', '"key": "seed", "value": 99')
    )
    lines = [line for line in copy.splitlines() if "eval" not in line or '"samples_count": 1920' not in line]
    (result.folder / "result_9.txt").write_text("\n".join(lines) + "\n")


def moved_copy(result):
    """Of attempt 0, with another seed and its evaluations at other points."""
    copy = (
        (result.folder / "result_0.txt").read_text().replace('"key": "seed", "value": 0', '"key": "seed", "value": 99')
    )
    for samples in range(1536, 3841, 384):
        copy = copy.replace(f'"samples_count": {samples}', f'"samples_count": {samples - 8}')
    (result.folder / "result_9.txt").write_text(copy)


def short_copy(result):
    result.attempts([{"evaluations": 3, "noise": 0.0004 * n} for n in (*range(-7, 2), -7)])


def faster_attempt(result):
    result.attempts([{} for _ in range(9)] + [{"pace": 0.8, "seconds_per_sample": 0.1}])


def scaled(text):
    return lambda result: (result.folder / "scaling.json").write_text(text)


def described(**fields):
    return lambda result: result.system("box", **fields)


def of_another_system(result):
    result.system("other", system_name="other")
    logged(result, "platform", "other")


def with_ranks(logs="*", ranks=16):
    """Let the logs count ranks."""

    def change(result):
        for file in result.folder.glob(f"result_{logs}.txt"):
            file.write_text(mllog("number_of_ranks", ranks, 2e8) + "\n" + file.read_text())

    return change


def with_ranks_of_one_log(result):
    with_ranks("[0-8]", 8)(result)
    with_ranks("9", 16)(result)


FORGED = {
    "two files with one number": (second_file, "score.files", True),
    "an attempt taken out": (removed, "review.runs.missing", True),
    "an attempt renamed": (renamed, "score.files", True),
    "an attempt in capitals": (beside("Result_3.txt"), "score.files", True),
    "an attempt put aside": (beside("result_3.txt.bak"), "score.files", True),
    "a copy with noise": (noisy_copy, "review.runs.same", True),
    "a copy without one of its evaluations": (cut_copy, "review.runs.same", True),
    "a copy with its evaluations at other points": (moved_copy, "review.runs.same", True),
    "a copy of three evaluations": (short_copy, "review.runs.same", True),
    "one attempt with other stamps": (faster_attempt, "score.pace", True),
    "a factor of 0.5": (scaled('{"scaling_factor": 0.5}'), "score.scaling", True),
    "a factor of 1.3": (scaled('{"scaling_factor": 1.3}'), "score.scaling", True),
    "a broken factor": (scaled("{"), "score.scaling", True),
    "no factor": (scaled('{"scaling_factor": null}'), "score.scaling", True),
    "another status": (described(status="Research, Development, or Internal (RDI)"), "review.status", False),
    "a status that there is not": (described(status="Shipping"), "review.status", False),
    "an empty status": (described(status=None), "review.status", False),
    "no submitter": (described(submitter=""), "review.org", False),
    "another division": (described(division="open"), "review.division", False),
    "another submitter": (described(submitter="Initech"), "review.org", False),
    "another number of accelerators": (with_ranks(), "review.chips", False),
    "another number of accelerators in one log": (with_ranks_of_one_log, "review.chips", False),
    "logs of another system": (of_another_system, "review.platform", False),
}


@pytest.mark.parametrize(("forge", "rule", "in_score"), FORGED.values(), ids=FORGED)
def test_a_forged_result_is_named(podium_json, result, forge, rule, in_score):
    forge(result)
    found = named(podium_json, result.place)
    assert {command for command in found if rule in found[command]} == (
        {"score", "check", "review"} if in_score else {"check", "review"}
    )


def test_a_field_that_the_description_lacks_is_named(podium_json, result):
    (result.place / "acme/systems/box.json").write_text(json.dumps({k: v for k, v in SYSTEM.items() if k != "cooling"}))
    assert "package.system.missing" in named(podium_json, result.place)["review"]


def logged(result, key, value, logs="*"):
    """Let the logs say `value` in place of what they say."""
    for file in result.folder.glob(f"result_{logs}.txt"):
        text = re.sub(rf'("submission_{key}", "value": )"[^"]*"', rf'\1"{value}"', file.read_text())
        file.write_text(text)


def agree(podium_json, result, key, said, **claimed):
    """Whether the review takes what the logs say for what the system description claims."""
    logged(result, key, said)
    result.system("box", **claimed)
    return f"review.{key}" not in named(podium_json, result.place)["review"]


@pytest.mark.parametrize(
    ("said", "claimed", "same"),
    [
        ("onprem", "onprem", True),
        ("onprem", "available", True),
        ("onprem", "Available on premise", True),
        ("onprem", "on-premise", True),
        ("cloud", "available", True),
        ("cloud", "Available in cloud", True),
        ("preview", "Preview", True),
        ("research", "RDI", True),
        ("research", "Internal", True),
        ("cloud", "Available on-premise", False),
        ("onprem", "Available cloud", False),
        ("onprem", "Preview", False),
        ("preview", "available", False),
        ("research", "available", False),
    ],
)
def test_the_same_status_in_other_words(podium_json, result, said, claimed, same):
    assert agree(podium_json, result, "status", said, status=claimed) == same


@pytest.mark.parametrize(("key", "value"), [("status", "cloud"), ("division", "open"), ("org", "Initech")])
def test_one_log_that_says_something_else_is_enough(podium_json, result, key, value):
    logged(result, key, value, logs="3")
    assert f"review.{key}" in named(podium_json, result.place)["review"]


def test_the_other_platform_of_one_log(podium_json, result):
    logged(result, "platform", "rack", logs="3")
    assert "review.platform" in named(podium_json, result.place)["review"]


def test_a_system_that_is_described_twice_is_no_other_one(podium_json, result):
    """Its name in the logs is the other file's, too."""
    result.system("box", system_name="rack")
    result.system("Rack", system_name="rack")
    logged(result, "platform", "rack")
    assert "review.platform" not in named(podium_json, result.place)["review"]


def test_another_name_of_the_platform_is_noted(podium_text, result):
    logged(result, "platform", "rack")
    assert "the logs name the platform rack, the description names the system box" in podium_text(
        "review", result.place
    )[1].replace("\n", " ")


@pytest.mark.parametrize(
    ("said", "claimed", "same"),
    [
        ("acme", "Acme Inc.", True),
        ("acme", "AcmeInc", True),
        ("AcmeInc", "acme", True),
        ("ACME Corporation", "acme", True),
        ("Initech+acme+Hooli", "acme + Hooli + Initech", True),
        ("Acme Computing", "Acme University Research Computing", True),
        ("Acme University Research Computing", "Acme Computing", True),
        ("reference_implementation", "acme", True),  # left as it is in an image that submitters share
        ("Initech", "acme", False),
        ("Initech+Hooli", "acme + Hooli", False),
        ("Acme Storage", "Acme University Research Computing", False),
    ],
)
def test_the_same_submitter_in_other_words(podium_json, result, said, claimed, same):
    assert agree(podium_json, result, "org", said, submitter=claimed) == same


@pytest.mark.parametrize("evaluations", [2, 6])
def test_a_log_that_is_there_twice_is_named_once(podium_json, result, evaluations):
    result.attempts([{"evaluations": evaluations, "noise": -0.003 + 0.0002 * n} for n in range(10)])
    (result.folder / "result_9.txt").write_bytes((result.folder / "result_0.txt").read_bytes())
    found = podium_json("review", result.place)[1]["findings"]
    assert [f["where"] for f in found if f["rule"] == "review.runs.same"] == [f"{BASE}/result_9.txt"]


def test_names_without_numbers_are_unusual_and_no_finding(podium_json, result):
    for number, file in enumerate(sorted(result.folder.iterdir())):
        file.rename(file.with_name(f"result_240930043022868_{number:02}.txt"))
    assert named(podium_json, result.place) == {"score": set(), "check": set(), "review": set()}


def test_of_many_missing_numbers_the_first_are_named(podium_json, result):
    (result.folder / "result_9.txt").rename(result.folder / "result_1000.txt")
    _, (entry,) = podium_json("score", result.place)
    missing = [f["message"] for f in entry["findings"] if f["rule"] == "review.runs.missing"]
    assert missing == [f"attempt {number} is missing" for number in range(9, 29)]


@pytest.mark.parametrize(("noise", "copies"), [(0.0, 10), (1e-5, 10), (1e-4, 0)])
def test_a_result_copied_to_another_system(podium_json, result, noise, copies):
    result.system("rack", system_name="rack")
    other = Result(result.place.parent / "other", [{"noise": 0.0002 * (n * 7 % 13) - 0.002 + noise} for n in range(10)])
    logged(other, "platform", "rack")
    rack = result.folder.parents[1] / "rack"
    rack.mkdir()
    other.folder.rename(rack / "llama2_70b_lora")
    found = [f for f in podium_json("review", result.place)[1]["findings"] if f["rule"] == "review.runs.same"]
    assert len(found) == copies
    assert all(re.search("as in .*/box/.*, of another result", f["message"]) for f in found)


def test_nothing_is_dropped(podium_json, result):
    second_file(result)
    _, (entry,) = podium_json("score", result.place)
    assert (entry["runs"], len(entry["times"])) == (11, 11)


def test_of_twelve_attempts_the_ten_that_count_are_named(podium_json, podium_text, result):
    result.attempts([{"stretches": {0: 1 + n / 100}} for n in range(12)])
    code, (entry,) = podium_json("score", result.place)
    assert (code, entry["official"], entry["designated"], entry["dropped"]) == (
        0,
        True,
        [*range(1, 11)],
        [1, 10],
    )
    for command in ("score", "review"):
        assert "scored are attempts 1, 2, 3, 4, 5, 6, 7, 8, 9, 10" in podium_text(command, result.place)[1]


def test_open_results_need_no_seed_and_no_epochs(podium_json, result):
    result.attempts([{"seed": None, "division": "open"} for _ in range(10)])
    result.system("box", division="open")
    assert named(podium_json, result.place) == {"score": set(), "check": set(), "review": set()}
    result.attempts([{"seed": None} for _ in range(10)])
    result.system("box")
    assert named(podium_json, result.place)["check"] == {"log.seed.missing"}


@pytest.mark.parametrize(("division", "factor"), [("closed", 1.0347), ("open", 1.0)])
def test_no_factor_applies_in_the_open_division(podium_json, result, division, factor):
    """Not even the one that the reference points give: they took 3178.67 samples, these attempts 3072."""
    result.attempts([{"evaluations": 5, "division": division} for _ in range(10)])
    result.system("box", division=division)
    scaled(f'{{"scaling_factor": {3178.6667 / 3072}}}')(result)
    _, (entry,) = podium_json("score", result.place)
    assert entry["scaling"] == pytest.approx(factor, abs=1e-4)
    assert ("score.scaling" in rules([entry])) == (division == "open")


@pytest.mark.parametrize(("failed", "right"), [(1, True), (2, False)])
def test_a_factor_is_of_the_attempts_that_count(podium_json, result, failed, right):
    """One that failed is the slowest, and dropped as the fastest is; with two, nothing is left to compare."""
    others = [{"evaluations": 5}] * (9 - failed) + [{"evaluations": 4, "noise": 0.01}] * failed
    result.attempts(
        [{"evaluations": 2}, *({**edit, "noise": edit.get("noise", 0) - 3e-4 * n} for n, edit in enumerate(others))]
    )
    scaled(f'{{"scaling_factor": {3178.6667 / 3072}}}')(result)
    _, (entry,) = podium_json("score", result.place)
    wrong = [f["message"][:34] for f in entry["findings"] if f["rule"] == "score.scaling"]
    assert wrong == ([] if right else ["no reference point confirms the sc"])


def test_logs_from_the_time_of_the_round_before(podium_text, result):
    assert "from the time of" not in podium_text("score", result.place)[1]
    result.attempts([{"at": 1.85e8 + 3600 * n} for n in range(10)])
    assert "the logs are from the time of v5.0" in podium_text("score", result.place)[1]


RIGHT = {
    "00": (8.25, set()),
    "01": (None, {"log.clock.stop"}),
    "02": (None, {"log.clock.start"}),
    "03": (8.25, {"score.files"}),
    "04": (8.25, {"log.data.train", "log.data.eval"}),
    "05": (8.0835, {"log.evaluation.missing"}),
    "06": (8.25, {"score.scaling"}),
    "07": (8.25, {"score.scaling"}),
    "08": (8.25, {"review.status"}),
    "10": (8.25, {"log.run_start.repeated"}),
    "15": (None, {"log.quality.claim"}),
    "16": (8.25, set()),
    "17": (8.69, set()),
    "18": (8.25, {"review.power"}),
}


@pytest.mark.skipif(not CASES.exists(), reason="the cases are not here")
@pytest.mark.parametrize("case", RIGHT)
def test_the_cases(podium_json, case):
    (place,) = CASES.glob(f"{case}-*")
    minutes, expected = RIGHT[case]
    _, (entry,) = podium_json("score", place)
    assert entry["minutes"] == (None if minutes is None else pytest.approx(minutes, abs=0.01))
    found = named(podium_json, place)
    assert expected <= found["check"] & found["review"]
    assert expected or not (found["check"] | found["review"] | found["score"])
