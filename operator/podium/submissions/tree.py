"""Read results in place: the logs of a benchmark, a system, a submitter or a whole round, or Podium's own."""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from podium.documents import DocumentError, LimitError, read_json
from podium.mllog import LogAccumulator, LogSummary, Parser, Problem
from podium.rounds import round_of_folder
from podium.stores import Store, StoreError, StoreRefused, document_bytes

_LOG = re.compile(
    r"(?P<folder>(?:.*/)?)(?:result_(?P<run>\d{1,9})\.txt|attempts/(?P<attempt>\d{1,9})/result\.txt|result_[^/]+\.txt)"
)
_STRAY = re.compile(
    r"(?P<folder>(?:.*/)?)(?!result\.json$)result[^/]*", re.IGNORECASE
)  # like a log's name, but not one
_POWER = re.compile(r"(?P<folder>.*/)power/[^/]+/[^/]+\.txt")
_SYSTEM = re.compile(r"(?P<folder>(?:.*/)?)systems/(?P<name>[^/]+)\.json")
_CONFIG = re.compile(r"(?P<folder>(?:.*/)?)code/(?P<area>[^/]+)/(?:.*/)?config_(?P<name>[^/]+)\.sh")
_NODES = re.compile(r"^\s*(?:export\s+)?DGXNNODES=(\d{1,6})\s*$", re.MULTILINE)
_CODE_OF = {  # the folders of v0.5's reference code
    "image_classification": "resnet", "single_stage_detector": "ssd", "object_detection": "maskrcnn",
    "rnn_translator": "gnmt", "translation": "transformer", "recommendation": "ncf", "reinforcement": "minigo",
}  # fmt: skip
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
    own: str = ""  # where Podium's files are: in `path`, or in the copy that a package keeps of the result
    system: Mapping[str, Any] = field(default_factory=dict)  # the submission's systems/<system>.json
    unreadable: tuple[tuple[str, str], ...] = ()  # documents that cannot be read: key, what is wrong
    same_number: tuple[tuple[str, str], ...] = ()  # logs with the number of an earlier one: both names
    unnumbered: tuple[str, ...] = ()  # logs with other names than result_<number>.txt
    stray: tuple[str, ...] = ()  # files beside the logs whose names are almost those of logs
    other_systems: tuple[str, ...] = ()  # of the package
    power: tuple[str, ...] = ()  # files with power readings
    lacks_result: bool = False  # its logs are those of Podium's attempts, and there is no result.json
    nodes: int | None = None  # of this benchmark, in the code of a v0.5 submission: its entry.json counts the cluster

    def key(self, name: str) -> str:
        """The key of one of the files that Podium stored with the result, such as run.yaml."""
        return f"{self.own}/{name}".lstrip("/")

    @property
    def designated(self) -> tuple[int, ...]:
        """The attempts that count, by Podium's result: a package hands in these; empty: all."""
        return _designated(self.result)

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


def _are_attempts(keys: Iterable[str]) -> bool:
    """Whether logs are where Podium stores those of attempts."""
    return any((match := _LOG.fullmatch(key)) and match["attempt"] for key in keys)


def read_folders(store: Store, *, only: str | None = None) -> Iterator[Folder]:
    """Every folder of `store` that contains logs, in order of name; or the single log with the key `only`.

    Raises StoreError if the store cannot be read. A log may have any size: it is read piece by piece.
    """
    keys = store.list()
    found: dict[str, list[tuple[int | None, str]]] = defaultdict(list)
    if only is not None:
        match = _LOG.fullmatch(only)
        above = match["folder"] if match else f"{PurePosixPath(only).parent}/".removeprefix("./")
        found[above] = [(int((match and match["attempt"]) or 0), only)]
    for key in keys if only is None else ():
        if match := _LOG.fullmatch(key):
            number = match["run"] or match["attempt"]
            found[match["folder"]].append((None if number is None else int(number), key))
    around = _Surroundings(store, keys)
    existing = frozenset(keys)
    copies = {path: copy for path in found if (copy := _copy_of(path)) and copy in found}
    entries = (path for path, files in found.items() if _holds_logs(path, files) and path not in copies.values())
    for path in sorted(entries):
        place = _place([*PurePosixPath(unquote(urlsplit(store.url).path)).parts, *PurePosixPath(path).parts])
        documents = _Documents(store, existing)
        own = copies.get(path, path)
        result = with_round(documents.read(f"{own}result.json"))
        numbered = _Numbered(found[path])
        if own != path:
            attempts = sorted(number for number, _ in found[own] if number is not None)
            chosen = _designated(result)
            numbered.as_attempts([number for number in attempts if not chosen or number in chosen])
        yield Folder(
            path=path.rstrip("/"),
            place=place,
            logs=tuple(read_log(store, key, index) for index, key in sorted(numbered.keys.items())),
            scaling=_scaling(documents, f"{path}scaling.json"),
            result=result,
            own=own.rstrip("/"),
            system=_system(documents, path),
            unreadable=tuple(documents.unreadable),
            same_number=tuple(numbered.same),
            unnumbered=tuple(numbered.unnumbered),
            stray=tuple(around.stray[path]),
            other_systems=around.other_systems(path),
            power=tuple(around.power[path]),
            lacks_result=f"{own}result.json" not in existing and _are_attempts(key for _, key in found[own]),
            nodes=around.nodes(path),
        )


def _designated(result: Mapping[str, Any]) -> tuple[int, ...]:
    score = result.get("score")
    listed = score.get("designated") if isinstance(score, dict) else None
    return tuple(index for index in listed if isinstance(index, int)) if isinstance(listed, list) else ()


def copy_path(system: str, benchmark: str) -> str:
    """Where a package keeps a result of Podium's, beside its results/: as it was stored, so that it can be verified."""
    return f"podium/{system}/{benchmark}"


def _copy_of(path: str) -> str:
    """The folder with the copy of Podium's result that a package would have for the entry at `path`; "" for others."""
    *above, kind, system, benchmark = ("", "", "", *PurePosixPath(path).parts)
    return "/".join([*filter(None, above), copy_path(system, benchmark), ""]) if kind == "results" else ""


def _holds_logs(path: str, files: Sequence[tuple[int | None, str]]) -> bool:
    """Whether a folder is that of an entry: other folders may hold any result_summary.txt."""
    return PurePosixPath(path).parts[-3:-2] == ("results",) or any(number is not None for number, _ in files)


class _Surroundings:
    """What a submission has beside the logs of an entry, found in one pass over its keys."""

    def __init__(self, store: Store, keys: Sequence[str]) -> None:
        self._store = store
        self._systems: dict[str, list[str]] = defaultdict(list)  # by the folder above results/ and systems/
        self._configs: dict[str, list[str]] = defaultdict(list)  # by the folder above results/ and code/
        self.power: dict[str, list[str]] = defaultdict(list)  # by folder of an entry
        self.stray: dict[str, list[str]] = defaultdict(list)  # by folder
        for key in keys:
            if match := _POWER.fullmatch(key):
                self.power[match["folder"]].append(key)
            elif match := _SYSTEM.fullmatch(key):
                self._systems[match["folder"]].append(match["name"])
            elif match := _CONFIG.fullmatch(key):
                self._configs[match["folder"]].append(key)
            elif (match := _STRAY.fullmatch(key)) and not _LOG.fullmatch(key):
                self.stray[match["folder"]].append(key)

    def other_systems(self, path: str) -> tuple[str, ...]:
        """The names of the other systems that the submitter describes."""
        parts = PurePosixPath(path).parts
        names = self._systems["".join(f"{part}/" for part in parts[:-3])] if parts[-3:-2] == ("results",) else []
        return tuple(name for name in names if name != parts[-2])

    def nodes(self, path: str) -> int | None:
        """The number of nodes that the code of a v0.5 entry starts on: DGXNNODES in config_<system>.sh."""
        parts = PurePosixPath(path).parts
        if parts[-3:-2] != ("results",):
            return None
        system = parts[-2].lower()
        for key in self._configs["".join(f"{part}/" for part in parts[:-3])]:
            match = _CONFIG.fullmatch(key)
            assert match
            name = match["name"].lower()
            same = system.startswith(f"{name}_ngc") or system.replace("dgx2h", "dgx2").startswith(f"{name}_ngc")
            if same and _CODE_OF.get(match["area"]) == parts[-1]:
                with contextlib.suppress(StoreError):
                    counted = _NODES.search(document_bytes(self._store, key).decode(errors="replace"))
                    return int(counted[1]) if counted else None
        return None


class _Numbered:
    """The logs of a folder by number. None is lost: one without a number, or whose number is taken, gets a free one."""

    def __init__(self, files: Sequence[tuple[int | None, str]]) -> None:
        self.keys: dict[int, str] = {}
        self.same: list[tuple[str, str]] = []
        self.unnumbered: list[str] = []
        late = []
        for number, key in sorted(files, key=lambda file: (file[0] is None, file[0] or 0, len(file[1]), file[1])):
            if number is None:
                self.unnumbered.append(key)
                late.append(key)
            elif number in self.keys:
                self.same.append((key, self.keys[number]))
                late.append(key)
            else:
                self.keys[number] = key
        for index, key in enumerate(late, start=max(self.keys, default=-1) + 1):
            self.keys[index] = key

    def as_attempts(self, attempts: Sequence[int]) -> None:
        """Number the logs of a package as the attempts that they are: MLCommons counts from 0, Podium from 1."""
        beyond = max(attempts, default=0) + 1 - len(attempts)
        self.keys = {
            attempts[number] if number < len(attempts) else number + beyond: key for number, key in self.keys.items()
        }


def _scaling(documents: _Documents, key: str) -> object:
    """The factor in scaling.json, unchecked; None if there is no such file."""
    factor = documents.read(key).get("scaling_factor")
    return "unreadable" if factor is None and documents.has(key) else factor


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

    def has(self, key: str) -> bool:
        return key in self._existing

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
