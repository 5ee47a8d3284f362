"""MovieLens 20M: ratings.csv out of its zip."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

from podium_benchmarks.prepare.archives import Archive, PrepareError
from podium_benchmarks.prepare.files import written

ARCHIVES = (
    Archive("ml-20m.zip", "https://files.grouplens.org/datasets/movielens/ml-20m.zip", 198_702_078,
            "md5:cd245b17a1ae2cc31bb14903e1204af3", "GroupLens (ml-20m.zip.md5)"),
)  # fmt: skip
RATINGS = "ml-20m/ratings.csv"


def prepare(archives: dict[str, Path], out: Path, workers: int) -> None:
    """OUT/ratings.csv."""
    del workers  # one file
    (path,) = archives.values()
    try:
        with zipfile.ZipFile(path) as archive, archive.open(RATINGS) as reader, written(out / "ratings.csv") as file:
            shutil.copyfileobj(reader, file, 1 << 20)
    except (zipfile.BadZipFile, KeyError) as error:
        raise PrepareError(f"{path} is not a zip file with {RATINGS} ({error}): download it again") from error
