"""Recorded games (SGF, FF[4]): the main line of each, as moves of our board."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from podium_benchmarks.core.cli import DataError, UsageError
from podium_benchmarks.minigo.board import BLACK, WHITE, IllegalMoveError, Position, geometry

PROPERTY = re.compile(r"([A-Za-z]+)((?:\s*\[(?:\\.|[^\\\]])*\])+)", re.DOTALL)
VALUE = re.compile(r"\[((?:\\.|[^\\\]])*)\]", re.DOTALL)
LAYOUT = "expected .sgf files, or .tar or .tar.gz archives of them"


@dataclass(frozen=True)
class Record:
    """One game: the positions in which a player moved, and their moves; passes are left out of both."""

    name: str
    positions: tuple[Position, ...]
    moves: tuple[int, ...]


def check_folder(folder: Path) -> None:
    """Refuse what can't hold games, by names alone."""
    if not folder.exists():
        raise UsageError(f"--data {folder} does not exist; {LAYOUT}")
    if not _files(folder):
        raise UsageError(f"--data {folder} contains no games; {LAYOUT}")


def read_games(folder: Path, size: int) -> list[Record]:
    """All games below a folder, or of one file, by name; raises DataError for one that can't be played on `size`."""
    return [read_game(name, text, size) for name, text in _texts(folder)]


def _files(folder: Path) -> list[Path]:
    found = [folder] if folder.is_file() else sorted(folder.rglob("*"))
    return [file for file in found if file.name.endswith((".sgf", ".tar", ".tar.gz"))]


def _texts(folder: Path) -> Iterator[tuple[str, str]]:
    for file in _files(folder):
        if file.suffix == ".sgf":
            yield str(file), _decoded(str(file), file.read_bytes())
            continue
        try:
            with tarfile.open(file) as archive:
                for member in sorted(archive.getmembers(), key=lambda member: member.name):
                    if member.isfile() and member.name.endswith(".sgf"):
                        content = archive.extractfile(member)
                        assert content is not None, "it is a file"
                        yield f"{file}:{member.name}", _decoded(member.name, content.read())
        except (tarfile.TarError, OSError, EOFError) as error:
            raise DataError(f"{file} can't be read as an archive ({error}): replace it") from error


def _decoded(name: str, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(f"{name}, line {line}: not UTF-8 ({error.reason}): convert the file") from error


def read_game(name: str, text: str, size: int) -> Record:
    """The game of one file; its name is for messages."""

    def wrong(place: int, what: str) -> DataError:
        return DataError(f"{name}, line {text.count(chr(10), 0, place) + 1}: {what}")

    position, positions, moves, count = Position(geometry(size)), [], [], 0
    start = text.find("(;")
    if start < 0:
        raise wrong(0, "no game: an SGF file starts with (;")
    # The main line is what comes before the first ")": later branches begin after one
    for node in PROPERTY.finditer(text, start, _end(text, start)):
        key, values = node.group(1), [value.group(1).strip() for value in VALUE.finditer(node.group(2))]
        if key == "SZ" and values[0] != str(size):
            raise wrong(node.start(), f"board size {values[0]}, but {size} is asked for")
        if key in {"AB", "AW"}:
            raise wrong(node.start(), f"stones placed before the game ({key}) are not supported")
        if key not in {"B", "W"}:
            continue
        count += 1
        if position.to_play != (BLACK if key == "B" else WHITE):
            raise wrong(node.start(), f"move {count}: {key} plays twice in a row, or White begins")
        move = _move(values[0], size)
        if move is None:
            raise wrong(node.start(), f"move {count}: {values[0]!r} is not a point of a {size}x{size} board")
        if move < size * size:
            positions.append(position)
            moves.append(move)
        try:
            position = position.play(move)
        except IllegalMoveError as error:
            raise wrong(node.start(), f"move {count} is illegal: {error}") from error
    if not moves:
        raise wrong(start, "no move in it")
    return Record(name, tuple(positions), tuple(moves))


def _end(text: str, start: int) -> int:
    """Where the main line ends: the first bracket that closes a branch, outside values."""
    inside, place = False, start
    while place < len(text):
        letter = text[place]
        if inside:
            place += letter == "\\"
            inside = letter != "]"
        elif letter == "[":
            inside = True
        elif letter == ")":
            return place
        place += 1
    return len(text)


def _move(value: str, size: int) -> int | None:
    if not value or (value == "tt" and size <= 19):
        return size * size
    if not re.fullmatch("[a-s][a-s]", value):
        return None
    column, row = (ord(letter) - ord("a") for letter in value)
    return row * size + column if max(column, row) < size else None
