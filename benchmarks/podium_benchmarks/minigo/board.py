"""Go positions as sets of points in whole numbers: a group, or all groups at once, grow by a few shifts.

Rules are those of the reference (mlcommons/training v0.5, minigo/go.py): area scoring, no suicide, simple ko, the game
ends with two passes; positional superko on request. A move is row * size + column, or size * size for a pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

BLACK, WHITE = 1, -1
COLUMNS = "ABCDEFGHJKLMNOPQRST"
SMALLEST, LARGEST = 5, 19


class IllegalMoveError(ValueError):
    """The rules don't allow this move; the text says which and why."""


class Geometry:
    """Which bits stand for which points: rows of `size` bits with an unused one between, so that rows don't touch."""

    def __init__(self, size: int) -> None:
        if not SMALLEST <= size <= LARGEST:
            raise ValueError(f"a board has {SMALLEST} to {LARGEST} lines, not {size}")
        self.size, self.stride = size, size + 1
        self.moves = size * size + 1
        self.places = np.array([row * self.stride + column for row in range(size) for column in range(size)])
        self.bits = [1 << int(place) for place in self.places]
        self.board = sum(self.bits)
        self.bytes = (size * self.stride + 7) // 8

    def around(self, points: int) -> int:
        """The points next to any of `points`."""
        return (points << 1 | points >> 1 | points << self.stride | points >> self.stride) & self.board

    def flood(self, seed: int, within: int) -> int:
        """All of `within` that is connected with `seed`, which is part of it."""
        while (grown := seed | (self.around(seed) & within)) != seed:
            seed = grown
        return seed

    def alive(self, stones: int, empty: int) -> int:
        """Those of `stones` of one color whose groups touch `empty`."""
        return self.flood(self.around(empty) & stones, stones)

    def planes(self, sets: Sequence[int]) -> NDArray[np.uint8]:
        """(len(sets), size * size) of 0 and 1."""
        return self.unpacked(self.packed(sets))

    def packed(self, sets: Sequence[int]) -> bytes:
        """The sets one after another, a bit for each point."""
        return b"".join(points.to_bytes(self.bytes, "little") for points in sets)

    def unpacked(self, packed: bytes) -> NDArray[np.uint8]:
        """(sets, size * size) of 0 and 1."""
        rows = np.frombuffer(packed, dtype=np.uint8).reshape(-1, self.bytes)
        return np.unpackbits(rows, axis=1, bitorder="little")[:, self.places]

    def name(self, move: int) -> str:
        """As people write it: column letter without I, and row counted from below."""
        if move == self.size * self.size:
            return "pass"
        return f"{COLUMNS[move % self.size]}{self.size - move // self.size}"


@cache
def geometry(size: int) -> Geometry:
    """The one for boards of this size."""
    return Geometry(size)


class Position:
    """A board, whose turn it is, and what came before; never changed after it was made."""

    __slots__ = ("black", "geometry", "ko", "moves", "passes", "previous", "superko", "to_play", "white")

    def __init__(
        self, geometry: Geometry, *, black: int = 0, white: int = 0, to_play: int = BLACK, ko: int = 0,
        passes: int = 0, previous: Position | None = None, superko: bool = False,
    ) -> None:  # fmt: skip
        self.geometry, self.black, self.white, self.to_play = geometry, black, white, to_play
        self.ko, self.passes, self.previous, self.superko = ko, passes, previous, superko
        self.moves: int = previous.moves + 1 if previous is not None else 0

    @property
    def over(self) -> bool:
        """Both have passed."""
        return self.passes >= 2

    def stones(self) -> tuple[int, int]:
        """Those of the player whose turn it is, and the other's."""
        return (self.black, self.white) if self.to_play == BLACK else (self.white, self.black)

    def play(self, move: int) -> Position:
        """The position after `move`; raises IllegalMoveError."""
        lines = self.geometry
        if move == lines.size * lines.size:
            return Position(lines, black=self.black, white=self.white, to_play=-self.to_play, passes=self.passes + 1,
                            previous=self, superko=self.superko)  # fmt: skip
        stone = lines.bits[move]
        own, other = self.stones()
        if stone & (own | other):
            raise IllegalMoveError(f"{lines.name(move)} is taken")
        if stone & self.ko:
            raise IllegalMoveError(f"{lines.name(move)} retakes a ko immediately")
        own |= stone
        around = lines.around(stone)
        taken = 0
        if around & other:
            taken = other & ~lines.alive(other, lines.board & ~(own | other))
            other &= ~taken
        empty = lines.board & ~(own | other)
        if not taken and not around & empty and not stone & lines.alive(own, empty):
            raise IllegalMoveError(f"{lines.name(move)} is suicide")
        lone = taken.bit_count() == 1 and not around & own and around & empty == taken
        black, white = (own, other) if self.to_play == BLACK else (other, own)
        after = Position(lines, black=black, white=white, to_play=-self.to_play, ko=taken if lone else 0, previous=self,
                         superko=self.superko)  # fmt: skip
        if self.superko and any(past.black == black and past.white == white for past in after.history()):
            raise IllegalMoveError(f"{lines.name(move)} repeats an earlier board")
        return after

    def history(self) -> Iterator[Position]:
        """The positions before this one, latest first."""
        past = self.previous
        while past is not None:
            yield past
            past = past.previous

    def legal(self) -> int:
        """The points that may be played on; a pass always may be made."""
        lines = self.geometry
        own, other = self.stones()
        empty = lines.board & ~(own | other)
        free = empty & lines.around(empty)  # next to another empty point: no suicide
        enclosed = empty & ~free & ~self.ko
        found = free & ~self.ko
        if enclosed:
            safe = lines.alive(own, free)
            joined = enclosed & lines.around(safe)
            found |= joined
            enclosed &= ~joined
        while enclosed:
            point = enclosed & -enclosed
            enclosed ^= point
            around, others = lines.around(point), empty & ~point
            takes = around & other & ~lines.alive(other, others)
            if takes or around & own & lines.alive(own, others):
                found |= point
        if self.superko:
            found = sum(bit for move, bit in enumerate(lines.bits) if bit & found and self._is_new(move))
        return found

    def _is_new(self, move: int) -> bool:
        try:
            self.play(move)
        except IllegalMoveError:
            return False
        return True

    def score(self, komi: float) -> float:
        """Black's points less White's and `komi`: stones, and empty areas that touch only one color."""
        lines = self.geometry
        empty = lines.board & ~(self.black | self.white)
        black, white = (lines.flood(lines.around(stones) & empty, empty) for stones in (self.black, self.white))
        return (self.black | black & ~white).bit_count() - (self.white | white & ~black).bit_count() - komi

    def __str__(self) -> str:
        """X is Black, O White; the first row is the upper one."""
        lines = self.geometry
        points = ["X" if bit & self.black else "O" if bit & self.white else "." for bit in lines.bits]
        rows = ["".join(points[start : start + lines.size]) for start in range(0, len(points), lines.size)]
        return "\n".join(rows)


@cache
def symmetries(size: int) -> NDArray[np.int64]:
    """(8, size * size + 1): for each turn and reflection, which old move each new one was; the pass stays."""
    grid = np.arange(size * size).reshape(size, size)
    turned = [np.rot90(side, turns).ravel() for side in (grid, grid.T) for turns in range(4)]
    return np.stack([np.append(one, size * size) for one in turned])
