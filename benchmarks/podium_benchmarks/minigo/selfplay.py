"""Games of a network against itself, and of two networks against each other, many at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from podium_benchmarks.core import seeds
from podium_benchmarks.minigo.board import BLACK, WHITE, Position, geometry
from podium_benchmarks.minigo.config import SearchSettings
from podium_benchmarks.minigo.features import Evaluate
from podium_benchmarks.minigo.search import Forest

DIRICHLET_PER_POINT = 0.03 * 361  # over the points of the board
NOISE_RATIO = 0.25
SOFT_RATIO = 1 / 12  # of the points: so many moves are drawn by their visits, later ones are the most visited


@dataclass(frozen=True)
class Resignation:
    """A player gives up when its expected result is below -`threshold`, but never in `disabled_ratio` of the games."""

    threshold: float
    disabled_ratio: float


@dataclass
class Game:
    """One game in progress."""

    number: int
    random: np.random.Generator
    may_resign: bool
    positions: list[Position] = field(default_factory=list)
    visits: list[NDArray[np.float32]] = field(default_factory=list)  # of the searches at these positions
    winner: int = 0  # BLACK, WHITE, or 0 for neither


def self_play(
    evaluate: Evaluate, settings: SearchSettings, size: int, numbers: Sequence[int], *, at_a_time: int, seed: int,
    resignation: Resignation,
) -> Iterator[Game]:  # fmt: skip
    """Play the games of these numbers; each draws from `seed` and its number alone. Yields each when it is over."""
    waiting = iter(numbers)
    forest = Forest(min(at_a_time, max(1, len(numbers))), size, settings, evaluate)
    seats: dict[int, Game] = {}
    while True:
        for seat in range(min(at_a_time, len(numbers))):
            if seat not in seats and (number := next(waiting, None)) is not None:
                random = np.random.default_rng(seeds.derive(seed, "game", number))
                seats[seat] = Game(number, random, bool(random.random() >= resignation.disabled_ratio))
                forest.reset(seat, Position(geometry(size)))
        if not seats:
            return
        yield from _play_a_move(forest, seats, settings, resignation)


def _play_a_move(
    forest: Forest, seats: dict[int, Game], settings: SearchSettings, resignation: Resignation
) -> Iterator[Game]:
    """Search and move in every game; those that are over leave their seats."""
    taken = np.array(sorted(seats))
    forest.expand_roots(taken)
    for seat, game in seats.items():
        lines = forest.position(seat).geometry
        noise = game.random.dirichlet(np.full(lines.moves, DIRICHLET_PER_POINT / (lines.moves - 1)))
        forest.add_noise(seat, noise, NOISE_RATIO)
    forest.search(taken)
    moves = []
    for seat in taken.tolist():
        game, visits, position = seats[seat], forest.visits(seat), forest.position(seat)
        game.positions.append(position)
        game.visits.append(visits)
        soft = position.moves < SOFT_RATIO * (len(visits) - 1)
        moves.append(int(game.random.choice(len(visits), p=visits / visits.sum())) if soft else int(visits.argmax()))
    expected_results = [forest.expected_result(seat) for seat in taken.tolist()]
    forest.advance(taken.tolist(), moves)
    for seat, expected_result in zip(taken.tolist(), expected_results, strict=True):
        game, after = seats[seat], forest.position(seat)
        if game.may_resign and expected_result < -resignation.threshold:
            game.winner = after.to_play  # the other one
        elif forest.ended(after):
            game.winner = int(np.sign(after.score(settings.komi)))
        else:
            continue
        yield seats.pop(seat)


def match(first: Evaluate, second: Evaluate, settings: SearchSettings, size: int, numbers: Sequence[int]) -> int:
    """How many of the games of these numbers `first` wins against `second`; it has Black in those of even number.

    No noise, no resigning, and the most visited move is made: what players see must differ, or all games are the same.
    """
    forests = [Forest(max(1, len(numbers)), size, settings, evaluate) for evaluate in (first, second)]
    colors = [BLACK if number % 2 == 0 else WHITE for number in numbers]
    for forest in forests:
        for seat in range(len(numbers)):
            forest.reset(seat, Position(geometry(size)))
    going, wins = set(range(len(numbers))), 0
    while going:
        moves: dict[int, int] = {}
        for player, forest in enumerate(forests):
            mine = [seat for seat in sorted(going) if (forest.position(seat).to_play == colors[seat]) == (player == 0)]
            if mine:
                forest.search(np.array(mine))
            for seat in mine:
                moves[seat] = int(forest.visits(seat).argmax())
        for forest in forests:
            forest.advance(list(moves), list(moves.values()))
        for seat in sorted(going):
            after = forests[0].position(seat)
            if forests[0].ended(after):
                going.discard(seat)
                wins += after.score(settings.komi) * colors[seat] > 0
    return wins
