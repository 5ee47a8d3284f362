"""MiniGo: the four games whose moves v0.5 predicts. v0.6 plays its own games and needs nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

from podium_benchmarks.minigo.sgf import read_games
from podium_benchmarks.prepare.archives import Archive
from podium_benchmarks.prepare.files import written

_HOME = ("https://raw.githubusercontent.com/mlcommons/training/80f8a0731e2284ba461e296b47faf84373401040"
         "/reinforcement/tensorflow/minigo/benchmark_sgf")  # fmt: skip
_ORIGIN = "the file at that commit"
ARCHIVES = tuple(
    Archive(f"9x9_pro_{name}.sgf", f"{_HOME}/9x9_pro_{name}.sgf", size, f"sha256:{digest}", _ORIGIN)
    for name, size, digest in (
        ("IYHN", 306, "486a6c67885354dfa31bcc16fc4a17e83ada40b9fd43600b4245b04e3df09314"),
        ("IYMD", 498, "654fd67a1cfc0ed7278eed8e766ba8b90b232f418173523c26dc7efffdb7adc9"),
        ("YKSH", 378, "5cb52058e21284b7b0306f29462b9ca09d4da729c7eebf25b88ce9291fbcb571"),
        ("YSIY", 408, "80077ea05c80f8f21208a1dc7bfc563753344ece65ea43fbb9e20a2d6cd09965"),
    )
)
BOARD_SIZE = 9


def prepare(archives: dict[str, Path], out: Path, workers: int) -> None:
    """OUT/*.sgf, played through once."""
    del workers  # four small files
    for name, path in archives.items():
        with path.open("rb") as reader, written(out / name) as file:
            shutil.copyfileobj(reader, file)
    read_games(out, BOARD_SIZE)
