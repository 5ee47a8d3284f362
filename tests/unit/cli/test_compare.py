"""``podium variance``, ``podium compare`` and ``podium history``."""

from __future__ import annotations

import csv
import io
import json
from xml.etree import ElementTree as ET

import pytest

from tests.unit.cli.logs import lora_run, mll, v05_run, v06_run, v07_run, write
from tests.unit.scoring.test_published import EXPECTED, LOGS

TIMES = (60, 120, 180, 240, 300)


def with_chips(lines, nodes, per_node=8):
    return [
        mll("submission_entry", str({"nodes": str({"num_nodes": str(nodes), "num_accelerators": str(per_node)})})),
        *lines,
    ]


# ---- variance ----


def test_variance_of_epochs_and_times(podium_json, podium_text, tmp_path):
    epochs = [4, 4, 5, 4, 6]
    runs = [
        [line.replace('"epoch_num": 1', f'"epoch_num": {e}') for line in v06_run("ssd", 60 * e, 0.24)] for e in epochs
    ]
    write(tmp_path / "v0.6/acme/box/ssd", runs)
    code, (found,) = podium_json("variance", tmp_path)
    assert code == 0
    assert found["epochs"]["histogram"] == [
        {"epochs": 4, "runs": 3},
        {"epochs": 5, "runs": 1},
        {"epochs": 6, "runs": 1},
    ]
    assert found["epochs"]["variation"] == pytest.approx(0.1944, abs=1e-4)
    assert found["timeVariation"] == pytest.approx(found["epochs"]["variation"])
    assert found["minutes"] == pytest.approx(13 / 3)
    assert found["interval"][0] < found["minutes"] < found["interval"][1]
    assert found["runsNeededFor5Percent"] == 70
    _, text = podium_text("variance", tmp_path)
    assert "  4 ███ 3\n  5 █ 1\n  6 █ 1\n" in text
    assert "for +-5 %          70 attempts at this variation" in text


def test_epochs_of_v05_count_from_0_in_the_log(podium_json, tmp_path):
    write(tmp_path / "v0.5/acme/box/resnet", [v05_run("resnet", t, 0.75) for t in TIMES])
    _, (found,) = podium_json("variance", tmp_path)
    assert found["epochs"]["histogram"] == [{"epochs": 1, "runs": 5}]


def test_variance_without_a_score_is_a_finding(podium_json, tmp_path):
    write(tmp_path / "ssd", [v06_run("ssd", 60, 0.1, "aborted")] * 5)
    code, (found,) = podium_json("variance", tmp_path)
    assert (code, found["failed"], found["minutes"], found["interval"]) == (1, 5, None, None)


# ---- compare ----


def result(folder, benchmark, seconds, nodes):
    write(folder / benchmark, [with_chips(v06_run(benchmark, seconds, 0.99), nodes)] * 5)


def test_speed_up_at_equal_chip_count_and_growth_of_the_largest(podium_json, podium_text, tmp_path):
    result(tmp_path / "a/v0.6/acme/small", "resnet", 6000, 1)
    result(tmp_path / "a/v0.6/other/small", "resnet", 6600, 1)
    result(tmp_path / "a/v0.6/acme/large", "resnet", 600, 16)
    result(tmp_path / "b/v0.6/acme/small", "resnet", 4000, 1)
    result(tmp_path / "b/v0.6/acme/huge", "resnet", 120, 64)
    code, found = podium_json("compare", tmp_path / "a", tmp_path / "b")
    assert code == 0
    (speed_up,) = found["speedUps"]
    assert (speed_up["chips"], speed_up["speedUp"], speed_up["before"]["org"]) == (8, 1.5, "acme")
    (growth,) = found["growth"]
    assert (growth["before"]["chips"], growth["after"]["chips"], growth["growth"], growth["speedUp"]) == (
        128,
        512,
        4,
        5,
    )
    assert podium_json("compare", tmp_path / "a", tmp_path / "b", "--same-chips")[1]["growth"] == []
    assert podium_json("compare", tmp_path / "a", tmp_path / "b", "--scale")[1]["speedUps"] == []
    code, text = podium_text("compare", tmp_path / "a", tmp_path / "b")
    assert "resnet         8  100.000  66.667     1.50x" in text
    assert max(map(len, text.splitlines())) <= 80


def test_changed_targets_are_refused_unless_asked_for_and_then_named(podium_json, podium_text, tmp_path):
    write(tmp_path / "a/v0.5/acme/box/resnet", [v05_run("resnet", 6000, 0.75)] * 5)
    write(tmp_path / "b/v0.6/acme/box/resnet", [v06_run("resnet", 3000, 0.76)] * 5)
    code, found = podium_json("compare", tmp_path / "a", tmp_path / "b")
    assert (code, found["speedUps"], found["growth"]) == (1, [], [])
    assert [f["rule"] for f in found["findings"]] == ["compare.target", "compare.clock"]
    assert found["findings"][0]["message"] == "the target changed from v0.5 to v0.6: top1 0.749, then top1 0.759"
    code, found = podium_json("compare", tmp_path / "a", tmp_path / "b", "--across-targets")
    assert (code, found["speedUps"][0]["speedUp"], len(found["despite"])) == (0, 2, 2)
    _, text = podium_text("compare", tmp_path / "a", tmp_path / "b", "--across-targets")
    assert text.startswith("NOT COMPARABLE under the rules; compared because of --across-targets:\ncompare.target")
    assert "resnet *" in text


def test_a_board_of_another_size_is_another_benchmark(podium_json, tmp_path):
    small = [*v06_run("minigo", 60, 0.6), mll("eval_result", None, 60, timestamp=50)]
    write(tmp_path / "a/v0.6/acme/box/minigo", [small] * 10)
    write(tmp_path / "b/v0.7/acme/box/minigo", [v07_run("minigo", 60, 0.6)] * 10)
    code, found = podium_json("compare", tmp_path / "a", tmp_path / "b")
    assert (code, [f["rule"] for f in found["findings"]]) == (1, ["compare.variant"])


def test_chips_that_no_log_tells_are_asked_for(podium_json, tmp_path):
    write(tmp_path / "a/v0.6/acme/one/resnet", [v06_run("resnet", 60, 0.99)] * 5)
    write(tmp_path / "b/v0.6/acme/two/resnet", [v06_run("resnet", 30, 0.99)] * 5)
    _, found = podium_json("compare", tmp_path / "a", tmp_path / "b")
    (note,) = found["notes"]
    assert note.startswith(
        "resnet: no systems with equal chip counts: ? (one) before, ? (two) after; supply missing counts"
    )
    _, found = podium_json("compare", tmp_path / "a", tmp_path / "b", "--chips", "one=8", "--chips", "two=8")
    assert [(s["chips"], s["speedUp"]) for s in found["speedUps"]] == [(8, 2)]
    assert podium_json("compare", tmp_path / "a", tmp_path / "b", "--chips", "one")[0] == 2


CHIPS = {
    "v0.7": ("systems/box.json", {"number_of_nodes": "4", "accelerators_per_node": "16"}, 64),
    "no accelerators": ("systems/box.json", {"number_of_nodes": "4", "accelerators_per_node": "0", "host_processors_per_node": "2"}, 8),
    "v0.5": ("results/box/entry.json", {"nodes": [{"num_nodes": "3", "num_accelerators": "8"}]}, 24),
    "no JSON": ("systems/box.json", None, None),
}  # fmt: skip


@pytest.mark.parametrize(("path", "content", "chips"), CHIPS.values(), ids=CHIPS)
def test_chips_from_the_submission(podium_json, tmp_path, path, content, chips):
    write(tmp_path / "v0.7/acme/results/box/resnet", [v07_run("resnet", 60, 0.76)] * 5)
    file = tmp_path / "v0.7/acme" / path
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content) if content else ":::MLL 1 nodes: {")
    _, (entry,) = podium_json("score", tmp_path)
    assert entry["chips"] == chips


@pytest.mark.skipif(not EXPECTED.exists(), reason="the published logs are not here")
def test_published_rounds_compare(podium_json):
    code, found = podium_json("compare", LOGS / "v0.6", LOGS / "v0.6", "--scale")
    sizes = {each["benchmark"]: each["after"]["chips"] for each in found["growth"]}
    assert sizes == {"resnet": 1040, "maskrcnn": 192, "ssd": 240, "gnmt": 384, "transformer": 480, "minigo": 8}
    assert {each["growth"] for each in found["growth"]} == {1}
    code, found = podium_json("compare", LOGS / "v0.5", LOGS / "v0.6")
    assert (code, found["findings"][0]["rule"]) == (1, "compare.target")


# ---- the answer ----


@pytest.fixture
def two_systems(tmp_path):
    """B trains each sample in 5 % less time; how many samples an attempt takes varies."""
    for name, pace in (("a", 0.125), ("b", 0.125 / 1.05)):
        runs = [lora_run(at=9e4 * n, seed=n, evaluations=3 + n % 4, seconds_per_sample=pace) for n in range(10)]
        write(tmp_path / name / "llama2_70b_lora", runs)
    return str(tmp_path / "a"), str(tmp_path / "b")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ((), 0),
        (("--expect", "no-slower", "--of", "rate"), 0),
        (("--expect", "faster", "--of", "rate"), 0),
        (("--expect", "same", "--of", "rate"), 1),
        (("--expect", "same", "--of", "rate", "--tolerance", "0.06"), 0),
        (("--expect", "slower", "--of", "rate"), 1),
        (("--expect", "no-slower"), 3),
    ],
)
def test_the_exit_code_says_whether_it_is_as_expected(podium_json, two_systems, options, code):
    found_code, found = podium_json("compare", *two_systems, *options)
    (answer,) = found["answers"]
    words = {each["quantity"]: each["answer"] for each in answer["quantities"]}
    assert (found_code, words["time-to-train"], words["rate"]) == (code, "undecided", "faster")


def test_the_answer_has_the_same_words_everywhere(podium_json, podium_text, two_systems, tmp_path):
    sentence = podium_json("compare", *two_systems)[1]["answers"][0]["sentence"]
    assert sentence.endswith("more attempts each; seconds per sample: faster by 5.0 % (5.0 to 5.0 %)")
    _, text = podium_text("compare", *two_systems)
    assert sentence in text
    assert max(map(len, text.split("time to train: ")[0].splitlines())) <= 80


def test_what_one_side_does_not_have_is_absent_not_invalid(podium_json, tmp_path):
    result(tmp_path / "a/v0.6/acme/box", "resnet", 6000, 1)
    result(tmp_path / "a/v0.6/acme/box", "ssd", 6000, 1)
    result(tmp_path / "b/v0.6/acme/box", "resnet", 6000, 1)
    _, found = podium_json("compare", tmp_path / "a", tmp_path / "b")
    assert found["notes"] == ["ssd: only before"]


# ---- history ----


def past(tmp_path, name, start, benchmark="resnet", system="box", minutes="12.345"):
    folder = tmp_path / f"team/{name}-12345678"
    folder.mkdir(parents=True)
    document = {
        "run": {"namespace": "team", "name": name, "uid": "1"},
        "round": "v0.6", "benchmark": benchmark, "division": "closed", "system": {"name": system}, "outcome": "Complete",
        "score": {"timeToTrainMinutes": minutes, "valid": True, "official": False},
        "attempts": [{"index": 1, "try": 0, "startTime": start}, {"index": 1, "try": 1, "startTime": start + "x"}],
    }  # fmt: skip
    (folder / "result.json").write_text(json.dumps(document))


def test_history_is_newest_first_and_filtered(podium_json, podium_text, tmp_path):
    past(tmp_path, "old", "2026-01-01T10:00:00.000Z")
    past(tmp_path, "new", "2026-02-01T10:00:00.000Z", benchmark="ssd")
    past(tmp_path, "mid", "2026-01-15T10:00:00.000Z", system="rack")
    code, found = podium_json("history", tmp_path)
    assert (code, [r["name"] for r in found["results"]]) == (0, ["new", "mid", "old"])
    assert found["results"][0]["minutes"] == 12.345
    assert found["results"][0]["attempts"] == 1
    assert found["results"][0]["uri"] == (tmp_path / "team/new-12345678").as_uri()
    for options, names in ((("--benchmark", "ssd"), ["new"]), (("--system", "rack"), ["mid"])):
        assert [r["name"] for r in podium_json("history", tmp_path.as_uri(), *options)[1]["results"]] == names
    _, text = podium_text("history", tmp_path)
    assert "2026-02-01 10:00  new  v0.6   ssd        box      12.345  not official" in text
    _, text = podium_text("history", tmp_path, "--csv")
    assert [row["name"] for row in csv.DictReader(io.StringIO(text))] == ["new", "mid", "old"]


def test_history_names_what_it_cannot_read(podium_json, tmp_path):
    past(tmp_path, "good", "2026-01-01T10:00:00.000Z")
    for name, text in (("cut", "{"), ("list", "[]"), ("deep", "[" * 100_000)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(text)
    code, found = podium_json("history", tmp_path)
    assert (code, len(found["results"])) == (1, 1)
    assert {f["where"] for f in found["findings"]} == {"cut/result.json", "list/result.json", "deep/result.json"}
    assert podium_json("history", tmp_path / "nowhere")[0] == 2


# ---- the picture of a comparison ----

QUALITY = {"ssd": 0.24, "gnmt": 25.0, "transformer": 26.0, "resnet": 0.77}
RUNS = {"ssd": 5, "gnmt": 10, "transformer": 10, "resnet": 5}


def submit(folder, speed, nodes):
    for benchmark, quality in QUALITY.items():
        for system, n in (("box", 1), ("boxes", nodes)):
            run = with_chips(v06_run(benchmark, 3600 / n / speed, quality), n)
            write(folder / "v0.6/acme" / system / benchmark, [run] * RUNS[benchmark])


def test_the_picture_has_a_bar_and_a_pair_of_dots_of_each_benchmark(podium_text, tmp_path):
    submit(tmp_path / "spring", 1.0, nodes=4)
    submit(tmp_path / "autumn", 1.5, nodes=16)
    file = tmp_path / "compare.svg"
    code, _ = podium_text("compare", tmp_path / "spring", tmp_path / "autumn", "--out", file)
    picture = ET.parse(file).getroot()
    texts = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert code == 0
    assert "autumn against spring" in texts
    assert texts.count("1.50x   60.00 to 40.00 min") == len(QUALITY)
    assert texts.count("32 to 128 chips (4.0x), 6.00x as fast") == len(QUALITY)
    bars = [e for e in picture.iter("{http://www.w3.org/2000/svg}rect") if e.get("class") == "bar train"]
    assert len(bars) == len(QUALITY)


def test_no_picture_of_nothing(podium_text, tmp_path):
    write(tmp_path / "a/v0.6/acme/box/ssd", [v06_run("ssd", 60, 0.1, "aborted")] * 5)
    file = tmp_path / "compare.svg"
    podium_text("compare", tmp_path / "a", tmp_path / "a", "--out", file)
    assert not file.exists()
