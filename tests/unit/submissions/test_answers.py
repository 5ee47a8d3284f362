"""What a comparison of two results answers, and what the answer is worth on published logs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from podium.rounds import load_rounds
from podium.scoring import Answer, Expectation
from podium.stores import FileStore
from podium.submissions import Quantity, as_expected, compare_pair, read_folders, score_folder
from tests.performance.published_halves import halves, measured
from tests.unit.cli.logs import lora_run, v07_run, write

ROUNDS = load_rounds()
V5_1 = Path(os.environ.get("PODIUM_TEST_RESULTS") or "no such folder") / "training_results_v5.1"
published = pytest.mark.skipif(not V5_1.exists(), reason="published results: set PODIUM_TEST_RESULTS")


def entry(folder):
    (found,) = (score_folder(each, ROUNDS, "v5.1") for each in read_folders(FileStore(folder)))
    return found


def lora(tmp_path, name, evaluations, pace):
    """One result: `evaluations` of each attempt until it converges, and its seconds per sample."""
    runs = [
        lora_run(at=90_000 * n, seed=n, evaluations=count, seconds_per_sample=pace * (1 + 0.001 * (n % 3)))
        for n, count in enumerate(evaluations)
    ]
    return entry(write(tmp_path / name / "llama2_70b_lora", runs).parent)


MANY, FEW = [3, 6, 4, 5, 3, 6, 4, 5, 3, 6], [6, 3, 5, 4, 6, 3, 5, 4, 6, 3]


def test_time_is_split_into_what_was_trained_and_how_fast(tmp_path):
    found = compare_pair(lora(tmp_path, "a", MANY, 0.125), lora(tmp_path, "b", FEW, 0.1225))
    rows = {row.quantity: row for row in found.rows}
    assert [row.name for row in found.rows] == [
        "time to train", "samples to the target", "seconds per sample", "the rest"
    ]  # fmt: skip
    product = rows[Quantity.AMOUNT].ratio.value * rows[Quantity.RATE].ratio.value * rows[Quantity.REST].ratio.value
    assert product == pytest.approx(rows[Quantity.TIME].ratio.value)
    assert rows[Quantity.RATE].ratio.value == pytest.approx(0.98, abs=1e-6)
    assert (rows[Quantity.TIME].answer, rows[Quantity.RATE].answer) == (Answer.UNDECIDED, Answer.FASTER)
    assert "time to train: undecided between " in found.sentence
    assert " more attempts each; seconds per sample: faster by 2.0 % (2.0 to 2.1 %)" in found.sentence


def test_the_same_system_has_no_difference_in_pace(tmp_path):
    found = compare_pair(lora(tmp_path, "a", MANY, 0.125), lora(tmp_path, "b", FEW, 0.125))
    assert found.of(Quantity.RATE).sentence == "no difference larger than 0.08 %"
    assert as_expected([found], Expectation.SAME, Quantity.RATE) is True
    assert as_expected([found], Expectation.SLOWER, Quantity.RATE) is None
    assert as_expected([found], Expectation.NO_SLOWER, Quantity.TIME) is None


def test_an_absent_pace_has_no_row(tmp_path):
    """One evaluation shows no rate; the time is compared nevertheless."""
    sides = [
        entry(write(tmp_path / name / "llama2_70b_lora", [v07_run("llama2_70b_lora", t, 0.9) for t in times]).parent)
        for name, times in (("a", (600, 660, 630)), ("b", (1500, 1600, 1550)))
    ]
    found = compare_pair(*sides)
    assert [row.quantity for row in found.rows] == [Quantity.TIME]
    assert found.rows[0].sentence == "slower: 2.46 times as long (2.23 to 2.71)"
    assert as_expected([found], Expectation.NO_SLOWER, Quantity.RATE) is None
    assert as_expected([found], Expectation.NO_SLOWER, Quantity.TIME) is False


def test_one_attempt_has_no_interval(tmp_path):
    found = compare_pair(lora(tmp_path, "a", [5], 0.125), lora(tmp_path, "b", MANY, 0.125))
    sentence = "undecided: it takes two attempts of each side (1 before, 10 after)"
    assert found.of(Quantity.TIME).sentence == sentence
    assert found.of(Quantity.TIME).document()["interval"] is None


@published
def test_lambda_and_nvidia_are_undecided_in_time_and_not_in_pace():
    sides = [
        entry(V5_1 / f"{org}/results/{system}_nemo/llama2_70b_lora")
        for org, system in (("Lambda", "gb300_n18_ngc25.04"), ("NVIDIA", "theia_ngpu72_ngc25.09"))
    ]
    found = compare_pair(*sides)
    assert found.of(Quantity.TIME).answer is Answer.UNDECIDED
    assert found.of(Quantity.RATE).sentence == "faster by 4.9 % (4.6 to 5.2 %)"


@published
def test_halves_of_an_entry_are_rarely_different_and_2_percent_are_found():
    """All entries: make perf-compare."""
    values = measured(entry(V5_1 / "Dell/results/1xXE9680x8H200-SXM-141GB/llama2_70b_lora"))
    assert halves("time", list(values["time to train"].values())).false <= 0.05
    rate = halves("rate", list(values["rate"].values()))
    assert (rate.false <= 0.05, rate.found >= 0.95) == (True, True)
