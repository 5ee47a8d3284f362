"""How many chips a system has, by each source, and what of it is not believed."""

from __future__ import annotations

import pytest

from podium.mllog import Format, LogSummary
from podium.submissions.systems import chips, described_chips, logged_chips
from podium.submissions.tree import Folder, Log, ResultPath


def place(system):
    return ResultPath("", "", submitter_is_sure=False, system=system, benchmark="")


def log(format_=Format.MLLOG, entry=""):
    return Log("result_0.txt", 0, LogSummary(format=format_, submission={"entry": entry} if entry else {}))


TWO = "{'num_nodes': 2, 'num_accelerators': 8}"


@pytest.mark.parametrize(
    ("folder", "count"),
    [
        # the first source that says anything: result.json, the description, the log's entry, the name
        ({"result": {"system": {"nodes": 2, "acceleratorsPerNode": 4}}, "system": {"number_of_nodes": 9}}, 8),
        ({"result": {"system": {"nodes": 2}}}, 2),
        ({"result": {"system": {"acceleratorsPerNode": 4}}, "place": place("tpu-v3-32")}, None),
        ({"result": {"system": "box"}, "place": place("tpu-v3-32")}, 16),
        ({"system": {"number_of_nodes": "2", "accelerators_per_node": "8"}, "logs": (log(entry=TWO),)}, 16),
        ({"system": {"number_of_nodes": "2"}, "logs": (log(entry=TWO * 2),)}, 32),
        ({"logs": (log(), log(entry=TWO)), "place": place("tpu-v3-64")}, 16),
        ({"logs": (log(),), "place": place("tpu-v3-64")}, 32),
        ({"place": place("tpuv4p-8")}, 4),
        ({"place": place("tpu-v3-1")}, 1),
        ({"place": place("gpu-v3-8")}, None),
    ],
)
def test_the_first_source_that_says_it(folder, count):
    assert chips(Folder("", **{"place": place("box"), "logs": (), **folder})) == count


def node(number=1, accelerators=8, **more):
    return {"num_nodes": number, "num_accelerators": accelerators, **more}


@pytest.mark.parametrize(
    ("nodes", "in_code", "format_", "count"),
    [
        (node(), None, Format.MLP, 8),
        ([node(), node(1, 4)], None, Format.MLP, 12),
        ([node(), "another", None], None, Format.MLP, 8),
        ("8", None, Format.MLP, None),
        (node(2), None, Format.MLP, None),  # the whole cluster
        (node(2), 16, Format.MLP, 128),  # this many in the code
        (node(2), None, Format.MLL, 16),
        (node(2, accelerator="tpuv3-32"), None, Format.MLP, 16),
        ([node(1), node(2)], None, Format.MLP, None),
        (node(1, 0), None, Format.MLP, None),
        (node("x"), None, Format.MLP, None),
    ],
)
def test_nodes_of_an_entry(nodes, in_code, format_, count):
    folder = Folder("", place("tpu-v3-512"), (log(format_),), system={"nodes": nodes}, nodes=in_code)
    assert chips(folder) == count


def test_a_folder_with_one_log_of_v05_is_an_entry_of_v05():
    folder = Folder("", place("box"), (log(Format.MLP), log(Format.MLLOG)), system={"nodes": node(2)})
    assert chips(folder) is None


def test_a_log_counts_its_ranks():
    assert [logged_chips(LogSummary(ranks=ranks)) for ranks in (8, None)] == [8, None]


@pytest.mark.parametrize(
    ("nodes", "hosts", "accelerators", "count"),
    [
        ("2", "2", "8", 16),
        (" 2 ", 2, "8 (of 16)", 16),
        ("2", "4", "0", 8),
        ("2", "4", None, 8),
        ("0", "4", "8", None),
        ("2x", "4", "8", None),
        (None, "4", "8", None),
        ("2", None, "", None),
        ("1000000", "1", "1", None),  # more digits than any system has
    ],
)  # fmt: skip
def test_counts_of_a_description(nodes, hosts, accelerators, count):
    named = {"number_of_nodes": nodes, "host_processors_per_node": hosts, "accelerators_per_node": accelerators}
    assert described_chips(named) == count
