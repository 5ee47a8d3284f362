"""Ranks run on the CPUs near their GPUs."""

from __future__ import annotations

import os
import threading
from types import SimpleNamespace

import pytest
import torch

from podium_benchmarks.core.affinity import bind_near_gpu, pci_address

GPUS = [f"0000:{bus:02x}:00.0" for bus in range(8)]


def made_up(root, cpulists, nodes):
    """A /sys whose GPUs are on the given nodes."""
    for number, cpulist in enumerate(cpulists):
        folder = root / "devices" / "system" / "node" / f"node{number}"
        folder.mkdir(parents=True)
        (folder / "cpulist").write_text(cpulist + "\n")
    for address, node in zip(GPUS, nodes, strict=False):
        folder = root / "bus" / "pci" / "devices" / address
        folder.mkdir(parents=True)
        (folder / "numa_node").write_text(f"{node}\n")
    return root


TWO_SOCKETS = ("0-3,8-11", "4-7,12-15")
CASES = {
    # cpulists, nodes of the GPUs, CPUs that the process may use, rank -> CPUs it gets, how many ranks share them
    "two and two": (TWO_SOCKETS, [0, 0, 1, 1], range(16), 2, {4, 5, 6, 7, 12, 13, 14, 15}, 2),
    "one of three": (TWO_SOCKETS, [0, 0, 1], range(16), 0, {0, 1, 2, 3, 8, 9, 10, 11}, 2),
    "all on one": (TWO_SOCKETS, [0, 0], range(16), 1, {0, 1, 2, 3, 8, 9, 10, 11}, 2),
    "a part of the machine": (TWO_SOCKETS, [0, 0, 1, 1], [0, 1, 4, 5], 3, {4, 5}, 2),
    "one node": (("0-3",), [0, 0], range(4), 1, {0, 1, 2, 3}, 2),
    "nothing near is allowed": (TWO_SOCKETS, [0, 1], range(4), 1, None, 2),
    "hardly anything near is allowed": (TWO_SOCKETS, [0, 0, 1, 1], [0, 1, 2, 3, 8, 9, 10, 4], 3, None, 4),
    "a single GPU has the machine": (("0-3", "4-7", "8-11", "12-15"), [2], range(16), 0, None, 1),
    "a virtual machine": (("0-3",), [-1, -1], range(4), 0, None, 2),
    "no such node": (("0-3",), [3, 3], range(4), 0, None, 2),
    "no such device": (("0-3",), [], range(4), 0, None, 2),
}


@pytest.mark.parametrize("case", CASES)
def test_a_rank_gets_the_cpus_of_its_gpus_node(case, tmp_path, monkeypatch):
    cpulists, nodes, allowed, rank, expected, sharing = CASES[case]
    bound = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(allowed))
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, cpus: bound.append(cpus))
    gpus = GPUS[: len(nodes) or 2]
    assert bind_near_gpu(gpus, rank, made_up(tmp_path, cpulists, nodes)) == sharing
    assert bound == ([] if expected is None else [expected])


def test_the_kernel_takes_it_and_threads_inherit_it(tmp_path):
    one, *others = sorted(os.sched_getaffinity(0))
    if not others:
        pytest.skip("there is one CPU")
    root = made_up(tmp_path, (str(one), ",".join(map(str, others))), [0, 1])
    found = []

    def rank() -> None:
        assert bind_near_gpu(GPUS[:2], 0, root) == 1
        inner = threading.Thread(target=lambda: found.append(os.sched_getaffinity(0)))
        inner.start()
        inner.join()

    outer = threading.Thread(target=rank)  # the affinity is a thread's: the tests' own stays
    outer.start()
    outer.join()
    assert found == [{one}]


def test_the_address_is_the_one_of_sysfs(monkeypatch):
    gpu = SimpleNamespace(pci_domain_id=1, pci_bus_id=0xAB, pci_device_id=3)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: gpu)
    assert pci_address(0) == "0001:ab:03.0"
    if torch.backends.cuda.is_built():
        assert all(hasattr(torch._C._CudaDeviceProperties, name) for name in vars(gpu))
