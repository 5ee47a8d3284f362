"""Chips of published systems: cores are not chips, a cluster is not a system, and code says how many nodes ran."""

from __future__ import annotations

import json

import pytest

from tests.unit.cli.logs import mll, v05_run, v06_run, v07_run, write

TPU = {"nodes": [{"num_nodes": 2, "num_accelerators": 32, "accelerator": "tpuv3-32"}]}
RESEARCH = {"nodes": [{"num_nodes": 64, "num_accelerators": 512, "accelerator": "tpuv2-512"}]}
ONE = {"nodes": [{"num_nodes": 1, "num_accelerators": 16, "accelerator": "Tesla V100-SXM3-32GB"}]}
CLUSTER = {"nodes": {"num_nodes": 128, "num_accelerators": 8, "accelerator": "Tesla V100-SXM2-16GB"}}
CPU = {"nodes": [{"num_nodes": 8, "num_accelerators": 0, "accelerator": "NA"}]}
CONFIG = {"code/image_classification/mxnet/config_DGX1_multi.sh": "## System\nDGXNNODES=80\n#DGXNNODES=2\nDGXNGPU=8\n"}
OTHER = {"code/translation/pytorch/config_DGX1_multi.sh": "DGXNNODES=24\n"}
LARGER = {"code/image_classification/mxnet/config_DGX2_multi.sh": "DGXNNODES=32\n"}
MULTI = "dgx1_multi_ngc18.11_mxnet"


@pytest.mark.parametrize(
    ("system", "entry", "code", "chips"),
    [
        ("tpu", TPU, {}, 16),  # two cores a chip, all of them counted
        ("tpu", RESEARCH, {}, 256),
        ("dgx2_ngc18.11_mxnet", ONE, {}, 16),
        (MULTI, CLUSTER, CONFIG, 640),
        (MULTI, CLUSTER, OTHER, None),  # of another benchmark
        (MULTI, CLUSTER, LARGER, None),  # of another system
        (MULTI, CLUSTER, {}, None),  # the cluster's 1,024 are not the run's
        ("skx", CPU, {}, None),
    ],
)
def test_chips_of_v05(podium_json, tmp_path, system, entry, code, chips):
    place = tmp_path / "v0.5.0/acme/submission"
    write(place / f"results/{system}/resnet", [v05_run("resnet", 60, 0.75)] * 5)
    (place / f"results/{system}/entry.json").write_text(json.dumps(entry))
    for path, text in code.items():
        (place / path).parent.mkdir(parents=True)
        (place / path).write_text(text)
    assert podium_json("score", tmp_path)[1][0]["chips"] == chips


def test_an_entry_of_a_later_round_counts_its_own_nodes(podium_json, tmp_path):
    folder = tmp_path / "v0.6/acme/results/abci"
    write(folder / "resnet", [v06_run("resnet", 60, 0.76)] * 5)
    (folder / "entry.json").write_text(json.dumps({"nodes": [{"num_nodes": 512, "num_accelerators": 4}]}))
    assert podium_json("score", tmp_path)[1][0]["chips"] == 2048


@pytest.mark.parametrize(("name", "chips"), [("tpu-v3-32", 16), ("tpu-v3-1", 1), ("box", None)])
def test_chips_of_a_system_that_is_described_nowhere(podium_json, tmp_path, name, chips):
    write(tmp_path / f"v0.6/acme/results/{name}/resnet", [v06_run("resnet", 60, 0.76)] * 5)
    assert podium_json("score", tmp_path)[1][0]["chips"] == chips


@pytest.mark.parametrize(
    ("nodes", "chips"),
    [
        ("{'num_nodes': '2', 'num_accelerators': '8'}", 16),
        ("[{'num_nodes': 2, 'num_accelerators': 8}, {'num_nodes': 1, 'num_accelerators': 16}]", 32),  # of two kinds
        ("{'num_nodes': '8', 'num_accelerators': '0'}", None),
    ],
)
def test_chips_that_a_log_counts_in_its_entry(podium_json, tmp_path, nodes, chips):
    lines = [mll("submission_entry", f"{{'hardware': 'box', 'nodes': \"{nodes}\"}}", -5), *v06_run("resnet", 60, 0.76)]
    write(tmp_path / "v0.6/acme/results/box/resnet", [lines] * 5)
    assert podium_json("score", tmp_path)[1][0]["chips"] == chips


@pytest.mark.parametrize(
    ("nodes", "hosts", "accelerators", "chips"),
    [("2", "2", "8", 16), (4, 2, 8, 32), ("4", "2", "0", 8), ("4", "2", "N/A", 8), ("", "2", "8", None)],
)
def test_chips_of_a_system_description(podium_json, tmp_path, nodes, hosts, accelerators, chips):
    """Without accelerators, its host processors count."""
    write(tmp_path / "acme/results/box/resnet", [v07_run("resnet", 60, 0.76)] * 5)
    (tmp_path / "acme/systems").mkdir()
    counts = {"number_of_nodes": nodes, "host_processors_per_node": hosts, "accelerators_per_node": accelerators}
    (tmp_path / "acme/systems/box.json").write_text(json.dumps(counts))
    assert podium_json("score", tmp_path)[1][0]["chips"] == chips


@pytest.mark.parametrize(
    ("system", "chips"),
    [({"nodes": 4}, 4), ({"nodes": 4, "acceleratorsPerNode": 0}, 4), ({"nodes": 4, "acceleratorsPerNode": 8}, 32)],
)
def test_chips_of_a_result_of_podium_s(podium_json, tmp_path, system, chips):
    """Without accelerators, each node counts as one."""
    write(tmp_path / "attempts/001", []).joinpath("result.txt").write_text("\n".join(v07_run("resnet", 60, 0.76)))
    result = {"round": "v0.6", "benchmark": "resnet", "division": "open", "system": {"name": "tpu-v3-32", **system}}
    (tmp_path / "result.json").write_text(json.dumps(result))
    assert podium_json("score", tmp_path)[1][0]["chips"] == chips


def test_the_growth_of_the_fastest_and_of_the_largest(podium_json, podium_text, tmp_path):
    for side, systems in (("a", {"tpu-v3-32": 60, "tpu-v3-64": 90}), ("b", {"tpu-v3-128": 20, "tpu-v3-1024": 30})):
        for system, seconds in systems.items():
            write(tmp_path / f"{side}/v0.6/acme/results/{system}/resnet", [v06_run("resnet", seconds, 0.76)] * 5)
    sides = (tmp_path / "a", tmp_path / "b")
    _, found = podium_json("compare", *sides)
    assert [(each["growth"], each["speedUp"]) for each in found["growthOfFastest"]] == [(4.0, 3.0)]
    assert [(each["growth"], each["speedUp"]) for each in found["growth"]] == [(16.0, 3.0)]
    text = podium_text("compare", *sides)[1]
    assert text.index("The fastest system") < text.index("The largest system")
