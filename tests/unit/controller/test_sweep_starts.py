"""What of a sweep is written before its runs are created, and a run that its list does not show."""

from __future__ import annotations

import pytest

from podium.controller.sweeps import SWEEP_LABEL
from tests.unit.controller.test_sweeps import READY, Api, Death, Life, again
from tests.unit.reconcile.test_sweep import TEMPLATE, UID


@pytest.fixture
def api():
    made = Api()
    made.nodes = [{"metadata": {"name": f"gpu.{index}"}, "status": READY} for index in range(3)]
    return made


async def test_a_run_of_its_own_without_its_label_is_named(api):
    sweeps = again(api)
    await sweeps._work(UID)
    made, pages = api.runs, api.pages
    taken_off = made[1]["metadata"]
    taken_off["labels"] = {}

    async def labeled(resource, namespace, selector):
        async for bodies, version in pages(resource, namespace, selector):
            yield [body for body in bodies if resource.plural == "nodes" or body["metadata"]["labels"]], version

    api.pages = labeled
    await sweeps._work(UID)
    said = f"BenchmarkRun {taken_off['name']} lacks the label {SWEEP_LABEL}: {UID}; put it back"
    assert api.sweep["status"]["conditions"][0]["message"] == said
    assert len(made) == 3


@pytest.mark.parametrize("kill_at", range(1, 5))
async def test_groups_of_nodes_outlive_a_process_that_dies_at_its_first_writes(kill_at):
    life = Life(kill_at)
    api = Api(life)
    api.sweep["spec"]["nodes"]["groupSize"] = 2
    api.nodes = [{"metadata": {"name": f"gpu.{index}"}, "status": READY} for index in (0, 2)]
    with pytest.raises(Death):
        await again(api)._work(UID)
    life.kill_at = 0
    api.nodes += [{"metadata": {"name": f"gpu.{index}"}, "status": READY} for index in (1, 3)]
    await again(api)._work(UID)
    rows = {row["name"]: row["nodes"] for row in api.sweep["status"]["rows"]}
    assert len(rows) == len(api.runs) == 2
    for run in api.runs:
        required = run["spec"]["template"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        pinned = [term["matchFields"][0]["values"][0] for term in required["nodeSelectorTerms"]]
        assert pinned == rows[run["metadata"]["annotations"]["podium.dev/sweep-row"]]


async def test_a_template_that_changes_after_the_first_run_is_noticed_by_the_next_process():
    life = Life(kill_at=4)
    api = Api(life)
    api.nodes = [{"metadata": {"name": f"gpu.{index}"}, "status": READY} for index in range(3)]
    with pytest.raises(Death):
        await again(api)._work(UID)
    life.kill_at = 0
    api.sweep["spec"]["template"] = {**TEMPLATE, "measure": {"warmup": "1m", "duration": "9m"}}
    api.sweep["metadata"]["generation"] = 2
    await again(api)._work(UID)
    failed = next(c for c in api.sweep["status"]["conditions"] if c["type"] == "Failed")
    assert (len(api.runs), failed["status"]) == (1, "True")
    assert "it was changed after the first runs had been made" in failed["message"]
