"""The BenchmarkSweep resource: the same benchmark on many nodes, node counts or variants, judged against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from podium.api.affinity import Label, LabelKey
from podium.api.model import Model
from podium.api.spec import DNS_LABEL, MAX_NODES, Decimal
from podium.api.status import Condition
from podium.api.status import Model as StatusModel

SWEEP_KIND = "BenchmarkSweep"
SWEEP_PLURAL = "benchmarksweeps"
MAX_ROWS = 2000
MAX_RUNS = 20  # of one row

ONE_LIST = "over: set the list that it names (nodes, nodeCounts or variants), and no other"

Row = Literal["Waiting", "Running", "Ok", "Slow", "Failed", "Unsure"]


class SweepNodes(Model):
    """The nodes to compare: one row for each, or for each group of them."""

    selector: dict[LabelKey, Label] = Field(
        min_length=1, max_length=16, description='Labels of the nodes, such as {"pool": "gpu"}.'
    )
    group_size: int = Field(
        default=1, ge=1, le=16, description="Nodes of a run; groups are formed by the nodes' names."
    )


class Variant(Model):
    """A change of the template."""

    name: str = Field(max_length=63, pattern=DNS_LABEL)
    patch: dict[str, Any] = Field(description="A JSON merge patch of the template: null takes a field away.")


class SweepVerdict(Model):
    """When a row is slow, and how often it is measured until that is sure."""

    tolerance: Decimal = Field(
        default="0.03", description='How much slower than its peers a row may be: "0.03" is 3 percent.'
    )
    min_runs: int = Field(default=1, ge=1, le=MAX_RUNS, description="Runs of each row.")
    max_runs: int = Field(default=4, ge=1, le=MAX_RUNS, description="Runs of a row that is still unsure.")


class BenchmarkSweepSpec(Model):
    """What to compare, and with which benchmark."""

    over: Literal["nodes", "nodeCounts", "variants"]
    nodes: SweepNodes | None = None
    node_counts: tuple[Annotated[int, Field(ge=1, le=MAX_NODES)], ...] = Field(
        default=(), max_length=64, description="Numbers of nodes: a scaling curve."
    )
    variants: tuple[Variant, ...] = Field(default=(), max_length=64)
    parallel: int = Field(default=8, ge=1, le=MAX_ROWS, description="Runs at the same time.")
    template: dict[str, Any] = Field(
        description="The spec of each BenchmarkRun. With measure, rates are compared, else times to train."
    )
    verdict: SweepVerdict = SweepVerdict()

    @model_validator(mode="after")
    def _one_list(self) -> BenchmarkSweepSpec:
        given = {"nodes": self.nodes is not None, "nodeCounts": bool(self.node_counts), "variants": bool(self.variants)}
        if [name for name, is_given in given.items() if is_given] != [self.over]:
            raise ValueError(ONE_LIST)
        return self


class SweepRow(StatusModel):
    """One node, group of nodes, node count or variant."""

    name: str = Field(max_length=300)
    nodes: tuple[Annotated[str, Field(max_length=253)], ...] = Field(default=(), max_length=16)
    runs: tuple[Annotated[str, Field(max_length=63)], ...] = Field(
        default=(), max_length=MAX_RUNS, description="Names of its BenchmarkRuns."
    )
    rate: str | None = Field(default=None, max_length=32, description="Samples per second, or trainings per hour.")
    deviation: str | None = Field(
        default=None, max_length=32, description='Compared with the others: "-0.05" is 5 percent slower.'
    )
    interval: tuple[Annotated[str, Field(max_length=32)], ...] = Field(
        default=(), max_length=2, description="Where the deviation lies, at the confidence of the sweep."
    )
    verdict: Row = "Waiting"
    reason: str | None = Field(default=None, max_length=1024)


class SweepCounts(StatusModel):
    """Numbers of rows."""

    rows: int = 0
    running: int = 0
    ok: int = 0
    slow: int = 0
    failed: int = 0
    unsure: int = 0


class SweepResult(StatusModel):
    """Where the result is stored."""

    uri: str = Field(max_length=2048, description="URL of sweep.json: every row, and the runs that it rests on.")
    sha256: str = Field(max_length=64, description="Its digest.")


class BenchmarkSweepStatus(StatusModel):
    """What is known of the rows so far."""

    observed_generation: int | None = None
    template_sha256: str | None = Field(
        default=None, max_length=64, description="Digest of the template that its runs were made of."
    )
    conditions: tuple[Condition, ...] = Field(default=(), max_length=16)
    counts: SweepCounts = SweepCounts()
    worst: str | None = Field(default=None, max_length=340, description="The slowest row, with its deviation.")
    rows: tuple[SweepRow, ...] = Field(default=(), max_length=MAX_ROWS)
    result: SweepResult | None = None

    @property
    def complete(self) -> bool:
        return any(c.type == "Complete" and c.status == "True" for c in self.conditions)

    @property
    def ended(self) -> bool:
        return any(c.type in ("Complete", "Failed") and c.status == "True" for c in self.conditions)


def count(rows: Sequence[SweepRow]) -> SweepCounts:
    """Return how many rows there are, by verdict."""
    found = [row.verdict for row in rows]
    return SweepCounts(
        rows=len(rows),
        running=found.count("Running"),
        ok=found.count("Ok"),
        slow=found.count("Slow"),
        failed=found.count("Failed"),
        unsure=found.count("Unsure"),
    )


def merged(value: Any, patch: Any) -> Any:
    """Return `value` with a JSON merge patch (RFC 7396) applied."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(value) if isinstance(value, Mapping) else {}
    for key, change in patch.items():
        if change is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), change)
    return result
