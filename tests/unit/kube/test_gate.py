"""What is limited at once, and what does not hold up the rest."""

from __future__ import annotations

import asyncio

from podium.kube.gate import Gate


async def test_only_so_many_are_inside_at_once_and_all_get_in():
    gate, inside, most, done = Gate(2, 60.0), 0, 0, []

    async def work(number):
        nonlocal inside, most
        async with gate.entered():
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.01)
            inside -= 1
            done.append(number)

    await asyncio.gather(*(work(number) for number in range(6)))
    assert (most, done) == (2, [0, 1, 2, 3, 4, 5])


async def test_what_hangs_holds_up_the_others_only_for_a_while():
    gate, loop = Gate(1, 0.05), asyncio.get_running_loop()
    async with gate.entered():
        begun = loop.time()
        async with gate.entered():
            assert 0.04 < loop.time() - begun < 5.0
        async with gate.entered():  # the one that went in all the same gave no place back that it had not taken
            assert loop.time() - begun > 0.08
    async with gate.entered():
        assert gate._places.locked()


async def test_who_is_canceled_while_waiting_takes_no_place():
    gate = Gate(1, 60.0)
    async with gate.entered():
        waiting = asyncio.create_task(gate.entered().__aenter__())
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert not gate._places.locked()
