"""Read results in place: the logs of a benchmark, a system, a submitter or a whole round, or Podium's own."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from podium.documents import DocumentError, LimitError, read_json
from podium.mllog import LogAccumulator, LogSummary, Parser, Problem
from podium.rounds import round_of_folder
from podium.stores import Store, StoreError, StoreRefused, document_bytes

_LOG = re.compile(r"(?P<folder>(?:.*/)?)(?:result_(?P<run>\d+)\.txt|attempts/(?P<attempt>\d+)/result\.txt)")
BETWEEN = ("results", "submission", "submissions")  # folders between the submitter and the system


@dataclass(frozen=True, slots=True)
class Log:
    """One log as read. `problems` lists its first hundred unreadable lines."""

    name: str
    index: int
    summary: LogSummary
    problems: tuple[Problem, ...] = ()
    problem_count: int = 0


@dataclass(frozen=True, slots=True)
class ResultPath:
    """What the folders above some logs say about them; "" where they say nothing.

    `submitter_is_sure` if a `results` folder or the round is where the layout puts it.
    """

    round: str
    submitter: str
    submitter_is_sure: bool
    system: str
    benchmark: str


@dataclass(frozen=True, slots=True)
class Folder:
    """The logs of one entry: all attempts of one system at one benchmark."""

    path: str  # below the requested place; "" for that place itself
    place: ResultPath
    logs: tuple[Log, ...]
    scaling: object = None  # from scaling.json, unchecked
    result: Mapping[str, Any] = field(default_factory=dict)  # Podium's result.json
    system: Mapping[str, Any] = field(default_factory=dict)  # the submission's systems/<system>.json
    unreadable: tuple[tuple[str, str], ...] = ()  # documents that cannot be read: key, what is wrong

    @property
    def tries(self) -> list[Mapping[str, Any]]:
        """The numbered tries in Podium's result.json."""
        listed = self.result.get("attempts")
        return [
            a
            for a in (listed if isinstance(listed, list) else [])
            if isinstance(a, dict) and isinstance(a.get("index"), int) and isinstance(a.get("try"), int)
        ]

    @property
    def last_tries(self) -> dict[int, Mapping[str, Any]]:
        """The last try of each attempt, by attempt."""
        return {one["index"]: one for one in sorted(self.tries, key=lambda one: (one["index"], one["try"]))}


def read_folders(store: Store, *, only: str | None = None) -> Iterator[Folder]:
    """Every folder of `store` that contains logs, in order of name; or the single log with the key `only`.

    Raises StoreError if the store cannot be read. A log may have any size: it is read piece by piece.
    """
    keys = store.list()
    found: dict[str, dict[int, str]] = defaultdict(dict)
    if only is not None:
        found[f"{PurePosixPath(only).parent}/".removeprefix("./")] = {0: only}
    for key in keys if only is None else ():
        if match := _LOG.fullmatch(key):
            found[match["folder"]][int(match["run"] or match["attempt"])] = key
    existing = frozenset(keys)
    for path in sorted(found):
        place = _place([*PurePosixPath(unquote(urlsplit(store.url).path)).parts, *PurePosixPath(path).parts])
        documents = _Documents(store, existing)
        yield Folder(
            path=path.rstrip("/"),
            place=place,
            logs=tuple(read_log(store, found[path][index], index) for index in sorted(found[path])),
            scaling=documents.read(f"{path}scaling.json").get("scaling_factor"),
            result=with_round(documents.read(f"{path}result.json")),
            system=_system(documents, path),
            unreadable=tuple(documents.unreadable),
        )


def with_round(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """A result.json, or the spec of a run.yaml, with current names: before 0.1.0, the round was called `suite`."""
    if "suite" not in document:
        return document
    return {"round": document["suite"], **{key: value for key, value in document.items() if key != "suite"}}


def read_log(store: Store, key: str, index: int = 0) -> Log:
    """Read one log, whatever its content. Raises StoreError."""
    parser, folder = Parser(), LogAccumulator()
    for chunk in store.chunks(key):
        for event in parser.feed(chunk):
            folder.add(event)
    for event in parser.close():
        folder.add(event)
    return Log(key, index, folder.snapshot(), tuple(parser.problems), parser.problem_count)


def _place(parts: list[str]) -> ResultPath:
    """Interpret the layout <round>/<org>/[submission/][results/]<system>/<benchmark>, or any end of it.

    In v0.5, an organization may have one or two more folders per submission, which describe the system better than its
    own folder: <round>/google/cloud_v2.8/resnet-tpuv2-8/results/tpu/<benchmark>.
    """
    above = [part for part in parts if part not in ("/", "")]
    benchmark = above.pop() if above else ""
    system = above.pop() if above else ""
    sure = bool(above) and above[-1] in BETWEEN
    while above and above[-1] in BETWEEN:
        above.pop()
    submitter = above.pop() if above else ""
    depth = next((n for n in (1, 2) if sure and n < len(above) and round_of_folder(above[-1 - n])), 0)
    for _ in range(depth):
        submitter, system = above.pop(), f"{submitter}/{system}"
    rounds = [name for name in map(round_of_folder, parts) if name]
    sure = sure or bool(above and round_of_folder(above[-1]))
    return ResultPath(rounds[-1] if rounds else "", submitter, sure, system, benchmark)


def _system(documents: _Documents, path: str) -> Mapping[str, Any]:
    """Read <org>/systems/<system>.json for <org>/results/<system>/<benchmark>, or v0.5's entry.json."""
    parts = PurePosixPath(path).parts
    places = []
    if len(parts) >= 2:
        places.append("/".join([*parts[:-1], "entry.json"]))
    if len(parts) >= 3 and parts[-3] == "results":
        places.append("/".join([*parts[:-3], "systems", f"{parts[-2]}.json"]))
    return next((found for key in places if (found := documents.read(key))), {})


class _Documents:
    """Reads the JSON objects beside the logs of a folder; gives {} for anything else.

    v0.6 packages have log fragments under such names, which are ignored. Documents that exceed the limits, and things
    that are not files, are recorded.
    """

    def __init__(self, store: Store, existing: frozenset[str]) -> None:
        self._store, self._existing = store, existing
        self.unreadable: list[tuple[str, str]] = []

    def read(self, key: str) -> Mapping[str, Any]:
        if key not in self._existing:
            return {}
        try:
            document = read_json(document_bytes(self._store, key), key)
        except (LimitError, StoreRefused) as error:  # such as a link or a pipe
            self.unreadable.append((key, str(error)))
            return {}
        except (StoreError, DocumentError):
            return {}
        return document if isinstance(document, dict) else {}
