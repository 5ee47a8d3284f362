"""Monte Carlo tree search of many games at a time (minigo/mcts.py).

The trees of all games are arrays: one step down from a node is a handful of array operations for all of them, and the
leaves that they come to are evaluated by the network together. N, W, P and Q are the AlphaGo papers' names.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from podium_benchmarks.minigo.board import Position, geometry
from podium_benchmarks.minigo.config import SearchSettings
from podium_benchmarks.minigo.features import Evaluate

ABSENT = -1


class Forest:
    """A tree for each of `games` games, whose roots are the positions to move from."""

    def __init__(self, games: int, size: int, settings: SearchSettings, evaluate: Evaluate) -> None:
        self._settings, self._evaluate = settings, evaluate
        self._lines, self._longest = geometry(size), int(settings.longest_game * size * size)
        self._capacity = 3 * (settings.readouts + settings.leaves) + 1
        moves = self._lines.moves
        self._n = np.zeros((games, self._capacity, moves), dtype=np.float32)
        self._w = np.zeros_like(self._n)
        self._p = np.zeros_like(self._n)
        self._allowed = np.zeros((games, self._capacity, moves), dtype=bool)
        self._child = np.full((games, self._capacity, moves), ABSENT, dtype=np.int32)
        self._parent = np.full((games, self._capacity), ABSENT, dtype=np.int32)
        self._move = np.zeros((games, self._capacity), dtype=np.int32)  # that led here from the parent
        self._value = np.zeros((games, self._capacity), dtype=np.float32)  # the network's, for who is to play
        self._expanded = np.zeros((games, self._capacity), dtype=bool)
        self._used = np.zeros(games, dtype=np.int64)
        self._positions: list[list[Position]] = [[] for _ in range(games)]

    def reset(self, game: int, position: Position) -> None:
        """Restart a tree."""
        self._clear(game, 0)
        self._positions[game] = [position]
        self._used[game] = 1
        self._parent[game, 0] = ABSENT

    def position(self, game: int) -> Position:
        """Where the game stands."""
        return self._positions[game][0]

    def ended(self, position: Position) -> bool:
        """By two passes, or because it has taken too long."""
        return position.over or position.moves >= self._longest

    def expand_roots(self, games: NDArray[np.int64]) -> None:
        """Evaluate roots that have not been evaluated yet."""
        new = games[~self._expanded[games, 0]]
        if len(new):
            self._expand(new, np.zeros(len(new), dtype=np.int64))

    def add_noise(self, game: int, noise: NDArray[np.float64], ratio: float) -> None:
        """Mix a distribution over all moves into the root's chances, over those that are allowed."""
        allowed = self._allowed[game, 0]
        mixed = noise * allowed
        self._p[game, 0] = (1 - ratio) * self._p[game, 0] + ratio * mixed / max(mixed.sum(), 1e-12)

    def search(self, games: NDArray[np.int64]) -> None:
        """Add as many visits to the roots of these games as there are readouts."""
        self.expand_roots(games)
        wanted = self._n[games, 0].sum(1) + self._settings.readouts
        while len(games):
            for_now = np.full(len(games), self._settings.leaves)
            self._read(games, np.minimum(for_now, wanted - self._n[games, 0].sum(1)).astype(np.int64))
            todo = self._n[games, 0].sum(1) < wanted
            games, wanted = games[todo], wanted[todo]

    def visits(self, game: int) -> NDArray[np.float32]:
        """(moves,) of the root."""
        return self._n[game, 0].copy()

    def expected_result(self, game: int) -> float:
        """-1 to 1: how well the root's player does, by all visits."""
        count = self._n[game, 0].sum()
        return float((self._value[game, 0] + self._w[game, 0].sum()) / (1 + count))

    def _read(self, games: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
        """Select `counts` leaves of each of the games, evaluate them together, and update their ancestors."""
        found = [self._select(games[counts > turn]) for turn in range(int(counts.max()))]
        places = np.concatenate([game * self._capacity + node for game, node in found])
        new = np.unique(places[~self._expanded.ravel()[places]])
        if len(new):
            self._expand(new // self._capacity, new % self._capacity)
        for game, node in found:
            self._back_up(game, node)

    def _select(self, games: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Walk down each tree to a node that is new or where the game ends; each step counts as a lost visit."""
        node = np.zeros(len(games), dtype=np.int64)
        at_leaf = np.zeros(len(games), dtype=bool)
        while not at_leaf.all():
            walking = np.flatnonzero(~at_leaf)
            game, here = games[walking], node[walking]
            move = self._scores(game, here).argmax(1)
            self._n[game, here, move] += 1
            self._w[game, here, move] -= 1
            below = self._child[game, here, move].astype(np.int64)
            for place in np.flatnonzero(below == ABSENT):
                below[place] = self._grow(int(game[place]), int(here[place]), int(move[place]))
            node[walking] = below
            at_leaf[walking] = ~self._allowed[game, below].any(1)  # neither expanded nor in play
        return games, node

    def _scores(self, game: NDArray[np.int64], node: NDArray[np.int64]) -> NDArray[np.float32]:
        """(len(game), moves): Q + U, and minus infinity for what the rules don't allow."""
        n, w, settings = self._n[game, node], self._w[game, node], self._settings
        visits = n.sum(1, keepdims=True)
        value = (self._value[game, node][:, None] + w.sum(1, keepdims=True)) / (1 + visits)
        if settings.c_puct_base:
            c_puct = 2 * (np.log((1 + visits + settings.c_puct_base) / settings.c_puct_base) + settings.c_puct)
        else:
            c_puct = settings.c_puct
        q = (w + (value - settings.first_play_penalty)) / (1 + n)
        u = c_puct * self._p[game, node] * np.sqrt(np.maximum(1, visits)) / (1 + n)
        return np.where(self._allowed[game, node], q + u, -math.inf)

    def _grow(self, game: int, node: int, move: int) -> int:
        """A new node for the position after `move`."""
        new = int(self._used[game])
        self._used[game] += 1
        self._child[game, node, move] = new
        self._parent[game, new], self._move[game, new] = node, move
        position = self._positions[game][node].play(move)
        self._positions[game].append(position)
        if self.ended(position):
            self._expanded[game, new] = True
            self._value[game, new] = math.copysign(1.0, position.score(self._settings.komi)) * position.to_play
        return new

    def _expand(self, games: NDArray[np.int64], nodes: NDArray[np.int64]) -> None:
        positions = [self._positions[game][node] for game, node in zip(games.tolist(), nodes.tolist(), strict=True)]
        chances, values = self._evaluate(positions)
        allowed = np.ones((len(positions), self._lines.moves), dtype=bool)
        allowed[:, :-1] = self._lines.planes([position.legal() for position in positions])
        chances = np.where(allowed, chances, 0)
        self._p[games, nodes] = chances / np.maximum(chances.sum(1, keepdims=True), 1e-12)
        self._allowed[games, nodes], self._value[games, nodes] = allowed, values
        self._expanded[games, nodes] = True

    def _back_up(self, games: NDArray[np.int64], nodes: NDArray[np.int64]) -> None:
        """Replace the lost visit of each ancestor by the leaf's value, from the ancestor's point of view."""
        value = self._value[games, nodes]
        while len(games):
            above, move = self._parent[games, nodes], self._move[games, nodes]
            value = -value
            self._w[games, above, move] += 1 + value
            inner = above > 0
            games, nodes, value = games[inner], above[inner].astype(np.int64), value[inner]

    def advance(self, games: Sequence[int], moves: Sequence[int]) -> None:
        """Play a move in each of the games; what is known of the position after it stays."""
        for game, move in zip(games, moves, strict=True):
            child = int(self._child[game, 0, move])
            keeps = child != ABSENT and self._expanded[game, child]
            if (
                not keeps
                or int(self._n[game, 0, move]) > self._capacity - 1 - self._settings.readouts - self._settings.leaves
            ):
                self.reset(game, self.position(game).play(move))
                continue
            self._keep_below(game, child)

    def _keep_below(self, game: int, root: int) -> None:
        """Move the part of a tree under `root` to the front; nodes stay in order, parents before children."""
        used = int(self._used[game])
        parent = self._parent[game, :used].tolist()
        new_place = [ABSENT] * used
        new_place[root], kept = 0, [root]
        for node in range(root + 1, used):
            if new_place[parent[node]] != ABSENT:
                new_place[node] = len(kept)
                kept.append(node)
        count, table = len(kept), np.array([*new_place, ABSENT])  # the last one is for ABSENT itself
        for values in (self._n, self._w, self._p, self._allowed, self._move, self._value, self._expanded):
            values[game, :count] = values[game, kept]
        self._child[game, :count] = table[self._child[game, kept]]
        self._parent[game, :count] = table[self._parent[game, kept]]
        self._positions[game] = [self._positions[game][node] for node in kept]
        self._parent[game, 0] = ABSENT
        self._used[game] = count
        self._clear(game, count)

    def _clear(self, game: int, start: int) -> None:
        for values in (self._n, self._w, self._p, self._allowed, self._value, self._expanded):
            values[game, start:] = 0
        self._child[game, start:] = ABSENT
