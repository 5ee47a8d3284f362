"""The rules of Go, as boards: X is Black, O White, the first row is the upper one."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podium_benchmarks.minigo.board import (
    BLACK,
    WHITE,
    Geometry,
    IllegalMoveError,
    Position,
    geometry,
    symmetries,
)


def board(text, to_play=BLACK, **others):
    """A position as its rows show it."""
    rows = text.split()
    lines = geometry(len(rows))
    stones = {"X": 0, "O": 0, ".": 0}
    for bit, letter in zip(lines.bits, "".join(rows), strict=True):
        stones[letter] |= bit
    return Position(lines, black=stones["X"], white=stones["O"], to_play=to_play, **others)


def point(name, size=5):
    return "ABCDEFGHJ".index(name[0]) + (size - int(name[1:])) * size


def shown(text):
    return "\n".join(text.split())


def playable(position):
    """Names of the points that may be played on."""
    legal = position.legal()
    return {position.geometry.name(move) for move, bit in enumerate(position.geometry.bits) if bit & legal}


def test_a_group_without_liberties_is_taken():
    position = board("""
        .XX..
        XOOX.
        .XX..
        .....
        .....""")
    assert position.geometry.name(point("B5")) == "B5"
    after = board("""
        .....
        XOOX.
        .XX..
        .....
        .....""").play(point("B5")).play(point("A1")).play(point("C5"))  # fmt: skip
    assert str(after) == shown("""
        .XX..
        X..X.
        .XX..
        .....
        O....""")
    assert after.to_play == WHITE


def test_several_groups_are_taken_at_once():
    after = board("""
        .OX..
        OXX..
        X....
        .....
        .....""").play(point("A5"))  # fmt: skip
    assert str(after) == shown("""
        X.X..
        .XX..
        X....
        .....
        .....""")


def test_suicide_is_illegal_of_one_stone_and_of_many():
    position = board("""
        .X...
        X....
        .....
        ...XX
        ..XO.""", WHITE)  # fmt: skip
    assert "A5" not in playable(position)
    assert "E1" not in playable(position)
    with pytest.raises(IllegalMoveError, match="A5 is suicide"):
        position.play(point("A5"))
    with pytest.raises(IllegalMoveError, match="E1 is suicide"):
        position.play(point("E1"))


def test_filling_the_last_liberty_is_legal_where_it_takes():
    assert "A5" not in playable(board("""
        .O...
        O....
        .....
        .....
        ....."""))  # fmt: skip
    assert "A5" in playable(board("""
        .OX..
        OX...
        .....
        .....
        ....."""))  # fmt: skip


def test_a_ko_must_not_be_retaken_immediately():
    position = board("""
        .....
        .XO..
        X.XO.
        .XO..
        .....""", WHITE)  # fmt: skip
    taken = position.play(point("B3"))
    assert str(taken) == shown("""
        .....
        .XO..
        XO.O.
        .XO..
        .....""")
    assert "C3" not in playable(taken)
    with pytest.raises(IllegalMoveError, match="C3 retakes a ko immediately"):
        taken.play(point("C3"))
    later = taken.play(point("E5")).play(point("E1"))
    assert "C3" in playable(later)
    assert str(later.play(point("C3"))).splitlines()[2] == "X.XO."


def test_taking_more_than_one_stone_back_is_no_ko():
    """Snapback: White takes the stone that Black has thrown in, and loses three for it at once."""
    position = board("""
        XOO.X
        XOXXX
        XX...
        .....
        .....""")  # fmt: skip
    thrown_in = position.play(point("D5"))
    assert str(thrown_in).splitlines()[0] == "X..XX"  # nothing to throw in here: the three white stones are taken
    assert thrown_in.ko == 0
    two = board("""
        .XO..
        XXO..
        OOO..
        .....
        .....""", WHITE).play(point("A5"))  # fmt: skip
    assert two.ko == 0
    assert str(two).splitlines()[:2] == ["O.O..", "..O.."]


def test_superko_forbids_what_ko_allows():
    """A cycle of three kos' worth of moves is too long to draw: passes make the shortest one."""
    lines = geometry(5)
    shape = board("""
        .....
        .XO..
        X.XO.
        .XO..
        .....""", WHITE)  # fmt: skip
    for superko in (False, True):
        position = Position(lines, black=shape.black, white=shape.white, to_play=WHITE, superko=superko)
        after = position.play(point("B3")).play(25).play(25)  # the ko is open again, and both have passed
        assert ("C3" in playable(after)) is not superko
    with pytest.raises(IllegalMoveError, match="C3 repeats an earlier board"):
        after.play(point("C3"))


def test_two_passes_end_the_game_and_a_stone_between_does_not():
    position = Position(geometry(5)).play(25)
    assert not position.over
    assert position.play(25).over
    assert not position.play(point("C3")).play(25).over


@pytest.mark.parametrize(
    ("text", "points"),
    [
        (". . . . . . . . . . . . . . . . . . . . . . . . .", 0),
        ("..... ..... ..X.. ..... .....", 25),
        (".X.O. .X.O. .X.O. .X.O. .X.O.", 0),  # 10 to 10, the column between is nobody's
        (".X.O. .X.O. .XXO. .X.O. .X.O.", 1),
        ("XXXXX XXXXX OOOOO ..... .....", 10 - 15),
    ],
)
def test_points_are_stones_and_what_they_enclose(text, points):
    rows = text.replace(" ", "")
    position = board(" ".join(rows[start : start + 5] for start in range(0, 25, 5)))
    assert position.score(komi=0) == points
    assert position.score(komi=6.5) == points - 6.5


def test_boards_of_other_sizes_are_refused():
    with pytest.raises(ValueError, match="a board has 5 to 19 lines, not 4"):
        Geometry(4)


def test_eight_symmetries_are_all_different_and_keep_neighbors():
    table = symmetries(5)
    assert table.shape == (8, 26)
    assert len({tuple(row) for row in table.tolist()}) == 8
    assert (table[:, 25] == 25).all()
    grid = np.arange(25).reshape(5, 5)
    beside = {frozenset(pair) for pair in zip(grid[:, :-1].ravel(), grid[:, 1:].ravel(), strict=True)}
    beside |= {frozenset(pair) for pair in zip(grid[:-1].ravel(), grid[1:].ravel(), strict=True)}
    for row in table:
        assert {frozenset((row[a], row[b])) for a, b in beside} == beside


class Plain:
    """The same rules, written as slowly and as obviously as possible: a list of letters and a search for each group."""

    def __init__(self, size):
        self.size, self.board, self.turn, self.ko = size, ["."] * size * size, "X", None

    def around(self, place):
        row, column = divmod(place, self.size)
        for r, c in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            if 0 <= r < self.size and 0 <= c < self.size:
                yield r * self.size + c

    def group(self, place):
        """Its stones and liberties."""
        color, stones, liberties, todo = self.board[place], {place}, set(), [place]
        while todo:
            for other in self.around(todo.pop()):
                if self.board[other] == ".":
                    liberties.add(other)
                elif self.board[other] == color and other not in stones:
                    stones.add(other)
                    todo.append(other)
        return stones, liberties

    def play(self, place):
        """Whether it is legal; if so, it is done."""
        if self.board[place] != "." or place == self.ko:
            return False
        before, enemy = list(self.board), "O" if self.turn == "X" else "X"
        self.board[place] = self.turn
        taken = []
        for other in self.around(place):
            if self.board[other] == enemy and not self.group(other)[1]:
                for stone in self.group(other)[0]:
                    self.board[stone] = "."
                    taken.append(stone)
        stones, liberties = self.group(place)
        if not liberties:
            self.board = before
            return False
        self.ko = taken[0] if len(taken) == 1 and len(stones) == 1 and len(liberties) == 1 else None
        self.turn = enemy
        return True

    def skip(self):
        self.turn, self.ko = ("O" if self.turn == "X" else "X"), None

    def score(self):
        points, seen = 0, set()
        for place, letter in enumerate(self.board):
            points += {"X": 1, "O": -1, ".": 0}[letter]
            if letter != "." or place in seen:
                continue
            area, edges, todo = {place}, set(), [place]
            while todo:
                for other in self.around(todo.pop()):
                    if self.board[other] != ".":
                        edges.add(self.board[other])
                    elif other not in area:
                        area.add(other)
                        todo.append(other)
            seen |= area
            points += len(area) * (edges == {"X"}) - len(area) * (edges == {"O"})
        return points


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32), size=st.sampled_from([5, 6, 9, 13, 19]))
def test_any_game_goes_as_by_the_plain_rules(seed, size):
    draw = random.Random(seed)
    fast, plain = Position(geometry(size)), Plain(size)
    for number in range(3 * size * size):
        if number % 7 == 0:  # all moves, not just the one made
            legal = fast.legal()
            for move, bit in enumerate(fast.geometry.bits):
                copied = Plain(size)
                copied.board, copied.turn, copied.ko = list(plain.board), plain.turn, plain.ko
                assert copied.play(move) == bool(bit & legal), f"{fast}\n{fast.geometry.name(move)}"
        if draw.random() < 0.02:
            fast = fast.play(size * size)
            plain.skip()
            continue
        move = draw.randrange(size * size)
        try:
            after = fast.play(move)
        except IllegalMoveError:
            assert not plain.play(move)
            continue
        assert plain.play(move)
        fast = after
        assert str(fast).replace("\n", "") == "".join(plain.board)
    assert fast.score(komi=0) == plain.score()
