"""Self-play by several processes: the games that one process plays."""

import dataclasses
import multiprocessing

import numpy as np
import pytest
import torch

from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.core.mllog import Log
from podium_benchmarks.minigo import networks, train, workers
from podium_benchmarks.minigo.config import TINY
from podium_benchmarks.minigo.features import encode
from podium_benchmarks.minigo.selfplay import Resignation, self_play
from podium_benchmarks.minigo.workers import Workers

CPU = torch.device("cpu")
ALONE = Ranks(rank=0, world_size=1, device=CPU, cores=1)
SETTINGS, RESIGNATION = TINY.search(8), Resignation(threshold=0.9, disabled_ratio=0.5)
CHANCES = np.random.default_rng(0).random((97, 26), dtype=np.float32) ** 3


def guess(planes):
    """What depends on each position alone, whatever is evaluated with it."""
    kinds = (planes.sum(2, dtype=np.int64) * np.arange(1, 18)).sum(1) % len(CHANCES)
    return CHANCES[kinds], CHANCES[kinds, 0] * 2 - 1


def described(game):
    boards = [(one.black, one.white, one.to_play, one.ko, one.passes, one.moves) for one in game.positions]
    return (
        game.number,
        game.winner,
        boards,
        [visits.tolist() for visits in game.visits],
        encode(game.positions).tolist(),
    )


@pytest.fixture(scope="module")
def three():
    return Workers(3, SETTINGS, 5, RESIGNATION)


@pytest.mark.parametrize(("seed", "numbers"), [(1, range(7)), (2, range(20, 22))])
def test_games_are_those_of_one_process(three, seed, numbers):
    """Also a second time, and with fewer games than processes."""
    expected = self_play(lambda positions: guess(encode(positions)), SETTINGS, 5, numbers, at_a_time=4, seed=seed,
                         resignation=RESIGNATION)  # fmt: skip
    played = three.play(guess, numbers, at_a_time=4, seed=seed)
    ours, theirs = (sorted(map(described, games)) for games in (played, expected))
    assert [number for number, *_ in ours] == list(numbers)
    assert ours == theirs


def test_positions_of_several_processes_are_evaluated_together(three):
    sizes = []

    def note(planes):
        sizes.append(len(planes))
        return guess(planes)

    list(three.play(note, range(9), at_a_time=9, seed=1))
    assert max(sizes) > 3 * SETTINGS.leaves  # of the three games that each has


def test_a_process_that_dies_ends_the_run():
    before = set(multiprocessing.active_children())
    one = Workers(1, SETTINGS, 5, RESIGNATION)
    one.wait()
    (process,) = set(multiprocessing.active_children()) - before

    def kill(planes):
        process.kill()
        process.join()
        return guess(planes)

    with pytest.raises(RuntimeError, match="a self-play process has ended"):
        list(one.play(kill, range(1), at_a_time=1, seed=1))


def test_a_generation_is_played_by_the_rank_s_processes(three, monkeypatch):
    config = dataclasses.replace(TINY, games_per_generation=5, readouts=8)
    run = train.Run(config, 0, ALONE, Log(enabled=False), three)
    monkeypatch.setattr(train, "self_play", None)
    games = train.play_generation(networks.frozen(networks.build_model(config, 1, ALONE)), 1, run)
    assert sorted(game.number for game in games) == list(range(5))


@pytest.mark.parametrize(
    ("asked", "device", "count"), [(-1, "cuda", 4), (-1, "cpu", None), (0, "cuda", None), (2, "cpu", 2)]
)
def test_a_gpu_has_a_process_for_each_core_but_one(asked, device, count, monkeypatch):
    started = []

    class Noted(Workers):
        def __init__(self, count, *_):
            started.append(count)
            super().__init__(0, *_)

    monkeypatch.setattr(train, "Workers", Noted)
    config = dataclasses.replace(TINY, search_processes=asked)
    found = train.start_workers(config, Ranks(rank=0, world_size=1, device=torch.device(device), cores=5))
    assert (started[0] if started else None) == count
    assert isinstance(found, workers.Workers) == (count is not None)


def test_fewer_than_minus_one_process_is_refused():
    with pytest.raises(ValueError, match="search_processes must be -1 or more, not -2"):
        dataclasses.replace(TINY, search_processes=-2)
