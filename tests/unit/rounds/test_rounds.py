"""The rounds as data."""

from __future__ import annotations

import pytest
import yaml

from podium.rounds import load_rounds, vocabulary
from podium.rules import check_spec
from tests.unit.reconcile import examples as ex

V05, V06 = load_rounds()["v0.5"], load_rounds()["v0.6"]


@pytest.mark.parametrize(
    ("benchmark", "v05", "v06", "runs"),
    [
        ("resnet", [0.749], [0.759], (5, 5)),
        ("ssd", [0.212], [0.23], (5, 5)),
        ("maskrcnn", [0.377, 0.339], [0.377, 0.339], (5, 5)),
        ("gnmt", [21.8], [24.0], (10, 10)),
        ("transformer", [25.0], [25.0], (10, 10)),
        ("ncf", [0.635], [0.635], (100, 10)),
        ("minigo", [0.4], [0.5], (20, 10)),
    ],
)
def test_targets_and_runs(benchmark, v05, v06, runs):
    assert [quality.target for quality in V05.benchmarks[benchmark].quality] == v05
    assert [quality.target for quality in V06.benchmarks[benchmark].quality] == v06
    assert (V05.benchmarks[benchmark].runs, V06.benchmarks[benchmark].runs) == runs


def test_clocks():
    assert V05.clock.model_creation_timed
    assert (V06.clock.model_creation_timed, V06.clock.max_init_seconds) == (False, 1200)
    assert (V05.first_epoch, V06.first_epoch) == (0, 1)
    assert (V05.log_format, V06.log_format) == ("mlp-v0.5", "mll")


def test_every_tunable_key_has_a_source_and_is_in_the_vocabulary():
    for round_ in (V05, V06):
        for name, benchmark in round_.benchmarks.items():
            for key, parameter in benchmark.tunable.items():
                assert key in vocabulary()
                assert parameter.source, (round_.name, name, key)


def test_a_round_is_added_without_python(tmp_path):
    document = V06.model_dump(mode="json") | {
        "name": "v9.9",
        "benchmarks": {"resnet": V06.benchmarks["resnet"].model_dump(mode="json")},
    }
    document["benchmarks"]["resnet"]["quality"][0]["target"] = 0.8
    (tmp_path / "v9.9.yaml").write_text(yaml.safe_dump(document))
    rounds = load_rounds(tmp_path)
    assert rounds["v9.9"].benchmarks["resnet"].quality[0].target == 0.8
    assert check_spec(ex.spec(round="v9.9"), rounds) == ()
    assert "v9.9" not in load_rounds()


def test_a_broken_file_is_named_with_the_field(tmp_path):
    (tmp_path / "v1.yaml").write_text("name: v1\nclock: 5\n")
    with pytest.raises(ValueError, match=r"v1\.yaml.*\n.*clock|v1\.yaml(.|\n)*clock"):
        load_rounds(tmp_path)
