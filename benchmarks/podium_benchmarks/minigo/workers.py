"""Self-play by processes beside the trainer's: they search trees, it evaluates the positions of all of them.

A search spends its time on boards and on steps down the tree, in Python. Several processes of a rank do that together,
each for a part of the games, and the network of the trainer's process answers.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np
from numpy.typing import NDArray

from podium_benchmarks.minigo.board import Position, geometry
from podium_benchmarks.minigo.config import SearchSettings
from podium_benchmarks.minigo.features import EvaluatePlanes, packed, unpacked
from podium_benchmarks.minigo.selfplay import Game, Resignation, self_play


@dataclass(frozen=True)
class Task:
    """Games for one process."""

    numbers: Sequence[int]
    at_a_time: int
    seed: int


Row = tuple[int, int, int, int, int]


@dataclass(frozen=True)
class Played:
    """A game on its way between processes: positions know those before them, in a chain that is too long to pickle."""

    number: int
    winner: int
    visits: NDArray[np.float32]  # (positions, moves)
    rows: Sequence[Row]  # of each position: black, white, to_play, ko, passes

    @classmethod
    def of(cls, game: Game) -> Played:
        """What there is to say of a game that is over."""
        rows = [(one.black, one.white, one.to_play, one.ko, one.passes) for one in game.positions]
        return cls(game.number, game.winner, np.stack(game.visits), rows)

    def game(self, size: int) -> Game:
        """The same game."""
        positions: list[Position] = []
        for black, white, to_play, ko, passes in self.rows:
            before = positions[-1] if positions else None
            positions.append(Position(geometry(size), black=black, white=white, to_play=to_play, ko=ko, passes=passes,
                                      previous=before))  # fmt: skip
        return Game(self.number, np.random.default_rng(0), may_resign=False, positions=positions,
                    visits=list(self.visits), winner=self.winner)  # fmt: skip


class Workers:
    """Processes that wait for games to play; they end with this one."""

    def __init__(self, count: int, settings: SearchSettings, size: int, resignation: Resignation) -> None:
        self._size, self._connections = size, []
        context = multiprocessing.get_context("forkserver")  # CUDA doesn't survive a fork
        context.set_forkserver_preload([__name__])
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, settings, size, resignation), daemon=True)
            process.start()
            theirs.close()  # so that ours ends when the process does
            self._connections.append(ours)

    def wait(self) -> None:
        """Until all of them have started."""
        for _ in self.play(lambda planes: (planes, planes), (), at_a_time=1, seed=0):  # no game
            pass

    def play(self, evaluate: EvaluatePlanes, numbers: Sequence[int], *, at_a_time: int, seed: int) -> Iterator[Game]:
        """Play the games of these numbers; each draws from `seed` and its number alone. Yields each when it is over."""
        count = len(self._connections)
        try:
            for place, connection in enumerate(self._connections):
                connection.send(Task(numbers[place::count], -(-at_a_time // count), seed))
            yield from self._games(evaluate)
        except (EOFError, ConnectionError):
            raise RuntimeError("a self-play process has ended: its error is above, or it was killed") from None

    def _games(self, evaluate: EvaluatePlanes) -> Iterator[Game]:
        playing: list[Connection] = list(self._connections)
        while playing:
            asking: list[tuple[Connection, bytes]] = []
            for connection in multiprocessing.connection.wait(playing):
                assert isinstance(connection, Connection)
                message = connection.recv()
                if isinstance(message, Played):
                    yield message.game(self._size)
                elif message is None:
                    playing.remove(connection)
                else:
                    asking.append((connection, message))
            self._answer(evaluate, asking)

    def _answer(self, evaluate: EvaluatePlanes, asking: Sequence[tuple[Connection, bytes]]) -> None:
        """Evaluate the positions of several processes together."""
        if not asking:
            return
        planes = [unpacked(content, self._size) for _, content in asking]
        chances, values = evaluate(np.concatenate(planes))
        ends = np.cumsum([len(part) for part in planes])[:-1]
        for (connection, _), *answer in zip(asking, np.split(chances, ends), np.split(values, ends), strict=True):
            connection.send(tuple(answer))


def _work(connection: Connection, settings: SearchSettings, size: int, resignation: Resignation) -> None:
    def evaluate(positions: Sequence[Position]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        connection.send(packed(positions))
        answer: tuple[NDArray[np.float32], NDArray[np.float32]] = connection.recv()
        return answer

    try:
        while True:
            task: Task = connection.recv()
            for game in self_play(evaluate, settings, size, task.numbers, at_a_time=task.at_a_time, seed=task.seed,
                                  resignation=resignation):  # fmt: skip
                connection.send(Played.of(game))
            connection.send(None)
    except (EOFError, BrokenPipeError, KeyboardInterrupt):  # the trainer has ended
        return
