"""Sweeps that the operator's own code has decided and stored, in a cluster that is made up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from podium.api.sweep import SweepResult
from podium.cli.sweep_watch import SeenSweep
from podium.reconcile.sweep import ended_sweep
from podium.results.sweep import sweep_document
from tests.unit.reconcile.test_sweep import World, node, sweep


def stored(world: World, steps: int = 100) -> bytes:
    """The sweep.json of a sweep that is carried out to its end."""
    for _ in range(steps):
        decision = world.step()
        if decision.end:
            return sweep_document(world.sweep, decision.end, list(world.runs.values()))
        world.finish()
    raise AssertionError("it never ends")


def fleet(size: int, slow: dict[str, float] | None = None, failed: int = 0, noise: float = 0.004, **spec) -> bytes:
    """Nodes gpu-001 ... of about 2,450 samples per second; `slow`: their factors; the last ones are cordoned."""
    nodes = [node(f"gpu-{index:03}") for index in range(1, size + 1)]
    nodes[size - failed :] = [replace(one, problem=f"node {one.name} is cordoned") for one in nodes[size - failed :]]
    factors = slow or {}
    return stored(World(sweep(**spec), nodes, lambda row: 2450.0 * factors.get(row, 1.0), noise))


def scaling(counts=(1, 2, 4, 8, 16), lost: float = 0.06, noise: float = 0.004) -> bytes:
    """Each doubling loses a share of the rate per node, and more of it each time."""

    def rate(row: str) -> float:
        nodes = int(row.partition(" ")[0])
        return 2450.0 * nodes * (1 - lost * (nodes.bit_length() - 1) ** 1.3 / 2)

    return stored(World(sweep(over="nodeCounts", nodeCounts=list(counts)), (), rate, noise))


def variants(rates: dict[str, float], noise: float = 0.002, **spec) -> bytes:
    """Variants with these rates."""
    changes = [{"name": name, "patch": {"template": {"nodeSelector": {"driver": name}}}} for name in rates]
    return stored(World(sweep(over="variants", variants=changes, **spec), (), lambda row: rates[row], noise))


def seen(world: World, uri: str, steps: int = 100) -> Iterator[SeenSweep]:
    """What ``podium sweep watch`` sees of a sweep from its first status to its end; its result is at `uri`."""
    for _ in range(steps):
        decision = world.step()
        status = decision.status
        if decision.end:
            status = ended_sweep(world.sweep, decision.end, SweepResult(uri=uri, sha256="0" * 64), 1.0)
        yield SeenSweep(world.sweep.namespace, world.sweep.name, 1, status)
        if decision.end:
            return
        world.finish()
