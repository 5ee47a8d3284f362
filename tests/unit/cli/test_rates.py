"""How fast an entry's attempts train: per sample, per epoch, per accelerator, with an interval."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from podium.cli.main import app
from tests.unit.cli.logs import lora_run, mll, write

BOX = {"number_of_nodes": "2", "accelerators_per_node": "4"}


def lora(tmp_path, *paces):
    """A result of v5.1 on 8 chips; an attempt for each number of seconds per sample."""
    runs = [lora_run(at=90_000 * n, seed=n, seconds_per_sample=pace) for n, pace in enumerate(paces)]
    system = tmp_path / "acme/systems/box.json"
    system.parent.mkdir(parents=True)
    system.write_text(json.dumps(BOX))
    return write(tmp_path / "acme/results/box/llama2_70b_lora", runs)


def test_each_attempt_has_its_rate_per_accelerator(tmp_path, podium_json):
    lora(tmp_path, 0.125, 0.25)
    found = podium_json("score", tmp_path / "acme")[1][0]["rate"]
    assert (found["per"], found["samplesPerSecondPerAccelerator"]) == ("sample", pytest.approx(1 / 0.125 / 2**0.5 / 8))
    assert found["attempts"]["0"] == {
        "seconds": pytest.approx(0.125),
        "secondsPerSample": pytest.approx(0.125),
        "samplesPerSecond": pytest.approx(8),
        "samplesPerSecondPerAccelerator": pytest.approx(1),
    }
    assert found["attempts"]["1"]["samplesPerSecondPerAccelerator"] == pytest.approx(0.5)


def test_the_interval_is_over_the_attempts(tmp_path, podium_json):
    """Two attempts whose logs differ by 0.01: Student's t of one degree of freedom is 12.706."""
    lora(tmp_path, 0.125, 0.125 * 1.01005017)
    found = podium_json("score", tmp_path / "acme")[1][0]["rate"]
    assert found["relativeInterval"] == pytest.approx(0.0656, abs=1e-4)  # exp(12.706 * 0.01 / 2) - 1
    low, high = found["interval"]
    assert (low * high) ** 0.5 == pytest.approx(found["seconds"])


def test_the_table_has_samples_per_second_and_chip(tmp_path):
    lora(tmp_path, 0.125, 0.125, 0.12501)
    text = CliRunner().invoke(app, ["score", str(tmp_path / "acme")]).stdout
    assert "Samples/s/chip" in text
    assert "1 ±0.01%" in text


def epochs(more):
    """Epochs of 50 s, by a log that counts no samples."""
    lines = [mll("submission_benchmark", "ssd", -5), *more, mll("run_start")]
    for number in range(1, 5):
        lines += [mll("eval_start", None, 55 * number - 5, epoch_num=number)]
        lines += [mll("eval_accuracy", 0.24, 55 * number - 1, epoch_num=number), mll("eval_stop", None, 55 * number)]
    return [*lines, mll("run_stop", None, 221, status="success")]


@pytest.mark.parametrize(
    ("more", "per_second"), [([], None), ([mll("train_samples", 100_000, -4)], pytest.approx(2000))]
)
def test_epochs_are_samples_if_the_log_says_how_many(tmp_path, podium_json, more, per_second):
    write(tmp_path / "v0.6/acme/box/ssd", [epochs(more)] * 5)
    found = podium_json("score", tmp_path / "v0.6")[1][0]["rate"]
    assert (found["per"], found["seconds"], found["samplesPerSecond"]) == ("epoch", pytest.approx(50), per_second)
    assert found["samplesPerSecondPerAccelerator"] is None  # nothing says how many there are
