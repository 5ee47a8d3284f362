"""A namespace whose Jobs and pods cannot be listed, beside others."""

from __future__ import annotations

import asyncio

from podium.controller.reconciler import Controller
from podium.kube.client import ApiError
from podium.launch import Inputs
from podium.metrics import Metrics
from podium.rounds import load_rounds
from tests.unit.controller.test_causes import until
from tests.unit.controller.test_reconciler import body


class Api:
    """Lists nothing, in every namespace but `refused`."""

    def __init__(self, refused):
        self.refused = refused

    async def pages(self, resource, namespace, selector):
        if namespace == self.refused:
            raise ApiError(403, "Forbidden", f"{resource.plural} is forbidden")
        yield [], "1"

    async def watch(self, resource, namespace, selector, version):
        await asyncio.sleep(3600)
        yield []


class Actions:
    """Notes the runs for which something was to be done."""

    def __init__(self):
        self.runs = []

    async def execute(self, state, actions):
        self.runs.append(state.run.name)
        await asyncio.sleep(3600)


async def test_runs_wait_only_for_their_own_namespace(monkeypatch, caplog):
    monkeypatch.setattr("podium.controller.reconciler._UNKNOWN_SECONDS", 0.02)
    api, actions = Api("night"), Actions()

    class Logs:
        def follow(self, state):
            pass

    controller = Controller(
        api, actions, Logs(), Inputs(load_rounds()), Metrics(list, lambda: 0), namespaces=("lab", "night")
    )
    for namespace in ("lab", "night"):
        found = body()
        found["metadata"] |= {"namespace": namespace, "uid": namespace, "name": namespace}
        controller.run_changed(found, deleted=False)
    tasks = [asyncio.create_task(controller.informers.run()), asyncio.create_task(controller.queue.run())]
    await controller.informers.listed(within=0.2)
    assert (controller.informers.known("lab"), controller.informers.known("night")) == (True, False)
    await until(lambda: actions.runs)
    assert actions.runs == ["lab"]
    assert "watching jobs in namespace night: jobs is forbidden" in caplog.text
    assert (controller.known_in("lab"), controller.known_in(None)) == ({"lab"}, {"lab", "night"})
    for informer in controller.informers._all:
        informer.listed.set()
    await until(lambda: len(actions.runs) > 1)
    assert actions.runs == ["lab", "night"]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
