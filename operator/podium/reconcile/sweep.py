"""Decides what a sweep needs next: which rows it has, which runs to create, and what their rates say. Pure.

Like `decide`, it has no memory: the rows in the status say which nodes belong together, and the runs that exist say
what was measured. The name of a run follows from its sweep, row and number, so that creating it twice fails.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from podium.api import BenchmarkRunSpec, Condition, Reason, Result, rfc3339
from podium.api.sweep import MAX_ROWS, BenchmarkSweepSpec, BenchmarkSweepStatus, SweepResult, SweepRow, count, merged
from podium.reconcile.sweep_verdicts import Judged, judge, nodes_of
from podium.rounds import Round
from podium.rules import check_sweep
from podium.text import printable

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_MAX_MESSAGE = 32768  # characters, from the CRD
_MAX_REASON = 256  # of the CRD's 1,024: an object with 2,000 rows must fit into etcd
_NAME_ROOM = 50 - len("-01234567-20")  # of a run's name, for the sweep's
_NOT_A_NAME = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the cluster. `problem` says why nothing can be run on it now."""

    name: str
    allocatable: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class SweepRun:
    """A run of a sweep. `rates` are those of its attempts: samples per second, or trainings per hour."""

    name: str
    row: str
    number: int  # of the row's runs, starting at 1
    ended: bool
    uid: str = ""
    rates: tuple[float, ...] = ()
    failure: str = ""  # why it failed, if it did
    result: Result | None = None  # where it is stored


@dataclass(frozen=True, slots=True)
class Sweep:
    """A BenchmarkSweep as last read."""

    namespace: str
    name: str
    uid: str
    generation: int
    spec: BenchmarkSweepSpec
    status: BenchmarkSweepStatus


@dataclass(frozen=True, slots=True)
class NewRun:
    """A BenchmarkRun to create."""

    name: str
    row: str
    number: int
    spec: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SweepEnd:
    """All rows of a sweep that has nothing left to measure, and what they say in a sentence."""

    rows: tuple[SweepRow, ...]
    message: str

    @property
    def worst(self) -> str | None:
        """The slowest row, with its deviation."""
        return _worst(self.rows)


@dataclass(frozen=True, slots=True)
class SweepDecision:
    """The runs to create, and the new status; or the `end`, which is stored before `ended_sweep` is its status."""

    create: tuple[NewRun, ...]
    status: BenchmarkSweepStatus
    end: SweepEnd | None = None


def decide_sweep(
    sweep: Sweep, nodes: Sequence[Node], runs: Sequence[SweepRun], rounds: Mapping[str, Round], now: float
) -> SweepDecision:
    """Return which runs `sweep` needs, and its status. `nodes` and `runs` are all that exist, `now` in unix seconds."""
    if refusal := "; ".join(map(str, check_sweep(sweep.spec, rounds))) or _changed(sweep):
        return SweepDecision((), failed_sweep(sweep, refusal, now))
    by_row: dict[str, list[SweepRun]] = {}
    for run in sorted(runs, key=lambda one: one.number):
        by_row.setdefault(run.row, []).append(run)
    rows = _rows(sweep, nodes)
    made = {row.name: by_row.get(row.name, ()) for row in rows}
    rates = {name: [rate for run in runs_of for rate in run.rates] for name, runs_of in made.items()}
    verdicts = judge(sweep.spec, rates, {name: len(runs_of) for name, runs_of in made.items()})
    problems = _problems(sweep.spec, nodes)
    rows = [_row(row, made[row.name], verdicts.rows.get(row.name), problems) for row in rows]
    wanted = _wanted(sweep, rows, made, {name for name, one in verdicts.rows.items() if one.repeat})
    running = sum(not run.ended for run in runs)
    create = wanted[: max(0, sweep.spec.parallel - running)]
    if wanted or running or not rows:
        return SweepDecision(tuple(create), _going_on(sweep, rows, now))
    text = "; ".join(filter(None, (_in_words(rows), verdicts.together)))
    return SweepDecision((), _going_on(sweep, rows, now), SweepEnd(tuple(rows), text))


def ended_sweep(sweep: Sweep, end: SweepEnd, result: SweepResult, now: float) -> BenchmarkSweepStatus:
    """Return the status of a sweep whose result is stored."""
    said = {"Complete": ("True", Reason.SCORED, end.message), "Failed": ("False", Reason.COMPLETE, "")}
    return _status(sweep, end.rows, said, now).model_copy(update={"result": result})


def waiting_sweep(sweep: Sweep, rows: Sequence[SweepRow], cause: str, now: float) -> BenchmarkSweepStatus:
    """Return the status of a sweep that cannot go on now, because of `cause`."""
    return _going_on(sweep, rows, now, printable(cause)[:_MAX_MESSAGE])


def failed_sweep(sweep: Sweep, message: str, now: float) -> BenchmarkSweepStatus:
    """Return the status of a sweep whose spec cannot be carried out: no run is made of it, so it may be corrected."""
    text = printable(message)[:_MAX_MESSAGE]
    said = {"Complete": ("False", Reason.FAILED, ""), "Failed": ("True", Reason.INVALID_SPEC, text)}
    status = _status(sweep, sweep.status.rows, said, now)
    return status.model_copy(update={"template_sha256": sweep.status.template_sha256})


def _changed(sweep: Sweep) -> str:
    """Return what is wrong if the template has changed: runs of two templates must not be compared."""
    if sweep.status.template_sha256 in (None, _digest(sweep.spec)):
        return ""
    return "spec.template: it was changed after the first runs had been made; create a new BenchmarkSweep"


def _digest(spec: BenchmarkSweepSpec) -> str:
    return hashlib.sha256(json.dumps(spec.template, sort_keys=True).encode()).hexdigest()


# ---- rows ----


def _rows(sweep: Sweep, nodes: Sequence[Node]) -> list[SweepRow]:
    """Return the rows: those of the status, and those of nodes that are new."""
    spec, known = sweep.spec, list(sweep.status.rows)
    names = {row.name for row in known}
    if spec.over == "nodeCounts":
        made = [SweepRow(name=_nodes_text(number)) for number in dict.fromkeys(spec.node_counts)]
    elif spec.over == "variants":
        made = [SweepRow(name=variant.name) for variant in spec.variants]
    else:
        taken = {node for row in known for node in row.nodes}
        new = sorted(node.name for node in nodes if node.name not in taken)
        size = spec.nodes.group_size if spec.nodes else 1
        groups = [tuple(new[first : first + size]) for first in range(0, len(new) - size + 1, size)]
        made = [SweepRow(name=_group_name(group), nodes=group) for group in groups]
    return [*known, *(row for row in made if row.name not in names)][:MAX_ROWS]


def _row(row: SweepRow, runs: Sequence[SweepRun], judged: Judged | None, problems: Mapping[str, str]) -> SweepRow:
    """Return a row with what is known of it now."""
    failure = next((run.failure for run in runs if run.failure), "")
    problem = next((problems.get(node, f"node {node} is gone") for node in row.nodes if problems.get(node, "gone")), "")
    update: dict[str, Any] = {"runs": tuple(run.name for run in runs), "reason": None, "verdict": "Waiting"}
    if judged:
        update |= {
            "rate": f"{judged.rate:.6g}",
            "deviation": None if judged.deviation is None else f"{judged.deviation:.4f}",
            "interval": tuple(f"{end:.4f}" for end in judged.interval or ()),
            "verdict": judged.verdict,
            "reason": judged.text[:_MAX_REASON],
        }
    if failure or (problem and not runs):
        update |= {"verdict": "Failed", "reason": printable(failure or problem)[:_MAX_REASON]}
    elif any(not run.ended for run in runs):
        update["verdict"] = "Running"
    return row.model_copy(update=update)


def _problems(spec: BenchmarkSweepSpec, nodes: Sequence[Node]) -> dict[str, str]:
    """Return why nothing can be run on a node, by its name; "" if something can. A node that is gone has no entry."""
    system = BenchmarkRunSpec.model_validate(spec.template).system
    resource, wanted = system.accelerator_resource, system.accelerators_per_node
    found = {}
    for node in nodes:
        has = node.allocatable.get(resource, "0")
        lacks = wanted and (not has.isdecimal() or int(has) < wanted)
        found[node.name] = node.problem or (
            f"node {node.name} has {has} {resource} allocatable; the template wants {wanted}" if lacks else ""
        )
    return found


# ---- runs ----


def _wanted(
    sweep: Sweep, rows: Sequence[SweepRow], made: Mapping[str, Sequence[SweepRun]], repeat: Collection[str]
) -> list[NewRun]:
    """Return the runs to make now, in the order of the rows: first each row's least, then those that may `repeat`.

    A row is compared with the others, so nothing is repeated before each of them has been measured as often as it must.
    """
    least, alive = sweep.spec.verdict.min_runs, [row for row in rows if row.verdict != "Failed"]
    due = [row for row in alive if len(made[row.name]) < least]
    if not due and all(sum(run.ended for run in made[row.name]) >= least for row in alive):
        due = [row for row in alive if row.name in repeat]
    idle = [row for row in due if all(run.ended for run in made[row.name])]
    return [_new_run(sweep, row, max((run.number for run in made[row.name]), default=0) + 1) for row in idle]


def _new_run(sweep: Sweep, row: SweepRow, number: int) -> NewRun:
    spec = sweep.spec
    template = dict(spec.template)
    if spec.over == "variants":
        patch = next((variant.patch for variant in spec.variants if variant.name == row.name), {})
        template = merged(template, patch)
    elif spec.over == "nodeCounts":
        template = merged(template, {"system": {"nodes": nodes_of(row.name)}})
    else:
        terms = [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]} for node in row.nodes]
        pinned = {"nodeAffinity": {_REQUIRED: {"nodeSelectorTerms": terms}}}
        template = merged(template, {"system": {"nodes": len(row.nodes)}, "template": {"affinity": pinned}})
    return NewRun(run_name(sweep, row.name, number), row.name, number, template)


def run_name(sweep: Sweep, row: str, number: int) -> str:
    """Return the name of a row's run: nodes have names that no run may have, with dots and up to 253 characters."""
    readable = _NOT_A_NAME.sub("-", sweep.name).strip("-")[:_NAME_ROOM].strip("-")
    readable = readable if readable[:1].isalpha() else f"s{readable}"[:_NAME_ROOM]
    digest = hashlib.sha256(json.dumps([sweep.uid, row]).encode()).hexdigest()[:8]
    return f"{readable}-{digest}-{number}"


# ---- status ----


def _going_on(sweep: Sweep, rows: Sequence[SweepRow], now: float, cause: str = "") -> BenchmarkSweepStatus:
    measured = sum(row.rate is not None or row.verdict == "Failed" for row in rows)
    text = f"{measured} of {len(rows)} rows are measured" if rows else "no node has the labels of spec.nodes.selector"
    text = cause or text
    said = {"Complete": ("False", Reason.IN_PROGRESS, text), "Failed": ("False", Reason.IN_PROGRESS, "")}
    return _status(sweep, rows, said, now)


def _status(
    sweep: Sweep, rows: Sequence[SweepRow], said: Mapping[str, tuple[str, Reason, str]], now: float
) -> BenchmarkSweepStatus:
    before = {condition.type: condition for condition in sweep.status.conditions}
    conditions = []
    for kind, (value, reason, message) in said.items():
        old = before.get(kind)
        since = old.last_transition_time if old and old.status == value else rfc3339(now)
        conditions.append(
            Condition.model_validate(
                {"type": kind, "status": value, "reason": reason.value, "message": message, "lastTransitionTime": since}
            )
        )
    return BenchmarkSweepStatus(
        observed_generation=sweep.generation,
        template_sha256=sweep.status.template_sha256 or _digest(sweep.spec),
        conditions=tuple(conditions),
        counts=count(rows),
        worst=_worst(rows),
        rows=tuple(rows),
    )


def _worst(rows: Sequence[SweepRow]) -> str | None:
    deviating = [(float(row.deviation), row.name) for row in rows if row.deviation is not None]
    worst = min(deviating, default=None)
    return f"{worst[1]} {worst[0]:+.1%}" if worst else None


def _in_words(rows: Sequence[SweepRow]) -> str:
    counts = count(rows)
    parts = ((counts.ok, "ok"), (counts.slow, "slow"), (counts.failed, "failed"), (counts.unsure, "unsure"))
    return ", ".join(f"{number} {word}" for number, word in parts if number or word == "ok")


def _group_name(nodes: Sequence[str]) -> str:
    return nodes[0] if len(nodes) == 1 else f"{nodes[0]} and {len(nodes) - 1} more"


def _nodes_text(number: int) -> str:
    return f"{number} node" if number == 1 else f"{number} nodes"
