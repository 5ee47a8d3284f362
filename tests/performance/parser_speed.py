"""Lines per second of Podium's parser beside that of mlperf_logging on the same files, and memory on 1 GB.

    python -m tests.performance.parser_speed [FOLDER]

FOLDER holds result_*.txt of v0.6 or of later rounds (any depth); without it made-up logs of eight processes are used.
"""

from __future__ import annotations

import json
import math
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from mlperf_logging.compliance_checker.mlp_parser import parse_file

from podium.mllog import Parser, record
from podium.stores import FileStore

CHUNK = 1 << 20
REPEATS = 10
ORDINARY = "2026-01-01 10:00:00 rank 0 epoch 3 iteration 1200 loss 2.3456 lr 0.1 ips 1234.5 time 0.123\n"


def main() -> None:
    if len(sys.argv) > 1:
        files = sorted(Path(sys.argv[1]).rglob("result_*.txt"))
        measure(sys.argv[1], files)
    else:
        with tempfile.TemporaryDirectory() as folder:
            for name, make in (("MLL", mll), ("MLLOG", mllog)):
                for share, others in (("every 8th line", 7), ("every line", 0)):
                    file = Path(folder, f"result_{name}_{others}.txt")
                    file.write_text("".join(made_up(make, others)))
                    measure(f"{name}, {share} MLPerf's", [file])
    memory()


def mll(seconds: float, key: str, epoch: int) -> str:
    body = {"value": None, "metadata": {"epoch_num": epoch, "file": "train.py", "lineno": 287}}
    return f":::MLL {seconds:.3f} {key}: {json.dumps(body)}\n"


def mllog(seconds: float, key: str, epoch: int) -> str:
    body = {"namespace": "", "time_ms": int(seconds * 1000), "event_type": "POINT_IN_TIME", "key": key, "value": None}
    return (
        ":::MLLOG " + json.dumps({**body, "metadata": {"file": "train.py", "lineno": 287, "epoch_num": epoch}}) + "\n"
    )


def made_up(make: Callable[[float, str, int], str], others: int) -> Iterator[str]:
    """Eight processes log the starts and stops of 1,000 epochs."""
    for epoch in range(1, 1001):
        for key in ("epoch_start", "epoch_stop", "eval_start", "eval_stop"):
            for rank in range(8):
                yield make(1.56e9 + 60 * epoch + rank / 100, key, epoch)
                yield ORDINARY * others


def measure(name: str, files: list[Path]) -> None:
    formats = {":::MLLOG" in file.read_text(errors="replace") for file in files}
    ruleset = "0.7.0" if formats == {True} else "0.6.0"
    lines = sum(file.read_bytes().count(b"\n") for file in files)
    theirs, ours = best(
        lambda: sum(len(parse_file(str(file), ruleset)[0]) for file in files),
        lambda: sum(map(events_of, files)),
    )
    print(
        f"{name}: {lines:,} lines; mlperf_logging {lines / theirs:,.0f} lines/s, "
        f"podium {lines / ours:,.0f} lines/s, {theirs / ours:.1f}x"
    )


def events_of(file: Path) -> int:
    """As ``podium score`` reads it."""
    parser = Parser()
    count = sum(len(parser.feed(chunk)) for chunk in FileStore(file.parent.resolve()).chunks(file.name))
    return count + len(parser.close())


def best(*runs: Callable[[], int]) -> list[float]:
    """The least CPU seconds of each, in turns, so that a busy machine is busy for all of them."""
    seconds = [math.inf] * len(runs)
    for _ in range(REPEATS):
        for index, run in enumerate(runs):
            record._read_usual.cache_clear()  # each reading starts afresh
            start = time.process_time()
            run()
            seconds[index] = min(seconds[index], time.process_time() - start)
    return seconds


def memory() -> None:
    """1 GB through the parser in pieces of 1 MiB, one MLPerf line among eight."""
    piece = "".join(made_up(mllog, 7))[: CHUNK * 8].encode()
    parser = Parser()
    parser.feed(piece)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    fed, start = len(piece), time.perf_counter()
    while fed < 10**9:
        for at in range(0, len(piece), CHUNK):
            parser.feed(piece[at : at + CHUNK])
        fed += len(piece)
    took = time.perf_counter() - start
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"1 GB: {parser.line_count:,} lines in {took:.1f} s, {grown / 1024:.1f} MiB more memory")


if __name__ == "__main__":
    main()
