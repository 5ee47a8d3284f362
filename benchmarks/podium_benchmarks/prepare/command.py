"""`podium-benchmarks prepare BENCHMARK --out DIR`: from the data set's home to the folder that the trainer reads."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from podium_benchmarks.core.cli import UsageError
from podium_benchmarks.prepare.archives import Archive, PrepareError, Verified, verify
from podium_benchmarks.prepare.fetch import fetch_all, need_room
from podium_benchmarks.prepare.files import SUMS, write_sums, written
from podium_benchmarks.prepare.recipe import Recipe

RECORD = "sources.json"
DOWNLOADS = ".downloads"


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser], recipes: Mapping[str, Recipe]) -> None:
    """The sub-command and its options; `recipes` by the name of the benchmark."""
    parser = commands.add_parser("prepare", help="download, verify and reformat a benchmark's data set")
    parser.add_argument("benchmark", choices=sorted(recipes))
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the data set")
    parser.add_argument("--source", type=Path, action="append", default=[], metavar="FILE_OR_FOLDER",
                        help="archives that are here already; may be repeated")  # fmt: skip
    parser.add_argument("--workers", type=int, default=min(8, os.cpu_count() or 1), help="files at a time")
    parser.add_argument("--keep-downloads", action="store_true", help=f"leave the archives in DIR/{DOWNLOADS}")
    parser.set_defaults(recipes=recipes)


def run(arguments: argparse.Namespace) -> int:
    """Prepare as asked for. Returns the exit code: 0, or 1 with a sentence."""
    recipe, out = arguments.recipes[arguments.benchmark], arguments.out
    if arguments.workers < 1:
        print("prepare: --workers must be 1 or more", file=sys.stderr)
        return 2
    try:
        if (out / SUMS).exists():
            print(f"{out} already holds a complete data set (it has {SUMS}): choose another folder to prepare it again")
            return 0
        print(f"license: {recipe.license}", flush=True)
        make(recipe, out, arguments.source, arguments.workers, keep=arguments.keep_downloads)
    except (PrepareError, UsageError) as error:
        print(f"prepare: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"prepare: {error.filename or out}: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0


def make(recipe: Recipe, out: Path, sources: Sequence[Path], workers: int, *, keep: bool) -> None:
    """The data set in `out`, SHA256SUMS last: its presence marks a complete folder."""
    module = recipe.load()
    out.mkdir(parents=True, exist_ok=True)
    if any(module.adopt(source, out, workers) for source in sources if hasattr(module, "adopt")):
        print(f"{write_sums(out, workers)} files, taken over from {', '.join(map(str, sources))}")
        return
    need_room(out, recipe.result_bytes - sum(path.stat().st_size for path in out.glob("**/*") if path.is_file()))
    archives = gather(module.ARCHIVES, out, sources, workers, recipe.by_hand)
    if hasattr(module, "listed"):
        more = module.listed({name: one.path for name, one in archives.items()})
        archives = gather((*module.ARCHIVES, *more), out, sources, workers, recipe.by_hand)
    module.prepare({name: one.path for name, one in archives.items()}, out, workers)
    if not keep:
        shutil.rmtree(out / DOWNLOADS, ignore_errors=True)
    print(f"{out}: {write_sums(out, workers):,} files, listed in {SUMS}")


def gather(
    archives: Sequence[Archive], out: Path, sources: Sequence[Path], workers: int, by_hand: str
) -> dict[str, Verified]:
    """Every archive, from `sources` or its home, verified and recorded in OUT/sources.json."""
    given = {archive.name: path for archive in archives if (path := _given(archive, sources))}
    forbidden = [archive.name for archive in archives if not archive.url and archive.name not in given]
    if forbidden:
        raise PrepareError(f"the license forbids to download {', '.join(forbidden)} for you: {by_hand}, and name "
                           "their folder with --source")  # fmt: skip
    fetch_all([archive for archive in archives if archive.name not in given], out / DOWNLOADS, workers)
    known = _recorded(out)
    verified = {}
    for archive in archives:
        path = given.get(archive.name, out / DOWNLOADS / archive.name)
        one = verified[archive.name] = verify(archive, path, known.get(archive.name, ""))
        print(f"{archive.name}: {path.stat().st_size:,} bytes, verified by {one.by}, sha256 {one.sha256}", flush=True)
        _record(out, verified)
    return verified


def _given(archive: Archive, sources: Sequence[Path]) -> Path | None:
    for source in sources:
        if not source.exists():
            raise PrepareError(f"--source {source} does not exist")
        path = source / archive.name if source.is_dir() else source
        if path.name == archive.name and path.is_file():
            return path
    return None


def _recorded(out: Path) -> dict[str, str]:
    """SHA-256 by name, as recorded at an earlier call."""
    file = out / RECORD
    return {one["name"]: one["sha256"] for one in json.loads(file.read_text())} if file.exists() else {}


def _record(out: Path, verified: Mapping[str, Verified]) -> None:
    rows = [{"name": name, "url": one.archive.url, "bytes": one.path.stat().st_size, "sha256": one.sha256,
             "verifiedBy": one.by} for name, one in verified.items()]  # fmt: skip
    with written(out / RECORD) as file:
        file.write((json.dumps(rows, indent=2) + "\n").encode())
