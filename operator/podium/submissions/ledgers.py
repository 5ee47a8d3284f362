"""What the ledger of a result says, against itself and against the documents beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from podium.documents import DocumentError, LimitError, read_json
from podium.results import ledger
from podium.results.ledger import LEDGER, Entry
from podium.results.run_ledger import open_ledgers
from podium.results.writer import RESULT, SUMS
from podium.rules import Finding
from podium.rules.catalog import RuleId
from podium.stores import NotFound, Store, document_bytes
from podium.submissions.differences import mapping

_SAME = "run", "round", "benchmark", "division"  # in the first line of the ledger and in result.json
_SAME_SCORE = "timeToTrainMinutes", "rate", "valid", "official"  # in the last line
_SAME_END = "state", "timeToTrainSeconds", "samplesPerSecond"
_SAME_POD = "name", "nodeIndex", "node", "imageID"
_RESTORE = "restore the original, or ask for it"


@dataclass(slots=True)
class Case:
    """One result being verified."""

    store: Store
    path: str
    keys: frozenset[str]
    sums: dict[str, str] = field(default_factory=dict)
    records: list[ledger.Record] = field(default_factory=list)

    def finding(
        self, rule: RuleId, name: str, message: str, line: int | None = None, remedy: str = _RESTORE
    ) -> Finding:
        return Finding(rule, f"{self.path}/{name}".lstrip("/"), message, line, remedy)

    def entries(self, *kinds: str) -> list[Entry]:
        return [record.entry for record in self.records if not kinds or record.entry.get("kind") in kinds]

    def document(self, name: str) -> Mapping[str, Any]:
        """Return a JSON object; an empty one if there is none."""
        try:
            found = read_json(document_bytes(self.store, name), name)
        except (NotFound, DocumentError):
            return {}
        return found if isinstance(found, dict) else {}


def about_ledger(case: Case) -> Iterator[Finding]:
    """Report gaps, and what the ledger and the other files of the result contradict each other in."""
    yield from _ledger(case)
    yield from _run(case)
    yield from _tries(case)
    yield from _checkpoints(case)


def _ledger(case: Case) -> Iterator[Finding]:
    """Follow the chain, and compare what it knows of files with SHA256SUMS."""
    try:
        text = document_bytes(case.store, LEDGER)
    except NotFound:
        if not open_ledgers(case.keys):
            yield case.finding(RuleId.VERIFY_LEDGER, LEDGER, "is missing: which tries were made is not known")
        yield from unended(case)
        return
    except LimitError as error:
        yield case.finding(RuleId.VERIFY_LEDGER, LEDGER, str(error))
        return
    case.records = list(ledger.read(text))
    for record in case.records:
        if record.problem:
            yield case.finding(RuleId.VERIFY_LEDGER, LEDGER, f"there is a gap: {record.problem}", record.number)
    kinds = [str(entry.get("kind")) for entry in case.entries()]
    if kinds[:1] != [ledger.ADMITTED] or kinds[-1:] != [ledger.RESULT] or kinds.count(ledger.RESULT) != 1:
        begins, ends = (kinds[0], kinds[-1]) if kinds else ("nothing", "nothing")
        message = f"it begins with {begins} and ends with {ends} instead of {ledger.ADMITTED} and {ledger.RESULT}"
        yield case.finding(RuleId.VERIFY_LEDGER, LEDGER, message)
    known = ledger.files_of(case.entries()) | {LEDGER: hashlib.sha256(text).hexdigest()}
    for name in sorted(known.keys() | case.sums.keys()) if case.sums else ():
        if known.get(name) != case.sums.get(name):
            message = f"{LEDGER} and {SUMS} have other digests of it: one of them was changed"
            yield case.finding(RuleId.VERIFY_LEDGER, name, message)
    for entry in case.entries(ledger.REFUSED):
        message = f"{entry.get('segment')} was changed while the run lasted; it was not restored"
        yield case.finding(RuleId.VERIFY_LEDGER, LEDGER, message, remedy="ask who can write to the store")
    yield from unended(case)


def unended(case: Case) -> Iterator[Finding]:
    """Report the tries in parts of ledgers that have no end: of this run if it has not ended, or of another one."""
    closed = {str(run.get("uid"))[:8] for e in case.entries(ledger.ADMITTED) if isinstance(run := e.get("run"), dict)}
    for (folder, run), names in open_ledgers(case.keys).items():
        if folder or run in closed:
            continue
        try:
            records = list(ledger.read(b"".join(document_bytes(case.store, name) for name in names)))
        except LimitError as error:
            yield case.finding(RuleId.VERIFY_LEDGER, names[0], str(error))
            continue
        for record in records:
            if record.problem:
                yield case.finding(RuleId.VERIFY_LEDGER, names[0], f"there is a gap: {record.problem}", record.number)
        entries = [record.entry for record in records]
        ended = {_id(entry) for entry in entries if entry.get("kind") == ledger.END}
        left = [entry for entry in entries if entry.get("kind") == ledger.TRY and _id(entry) not in ended]
        name, more = names[-1], "it is in progress, or its process was killed"
        remedy = "wait for its end; if it was killed, its tries count as made"
        if not left:
            yield case.finding(RuleId.VERIFY_LEDGER, name, f"is of a run that has not ended: {more}", remedy=remedy)
        for entry in left:
            where = f"attempt {entry.get('attempt')}, try {entry.get('try')},"
            message = f"{where} was started at {entry.get('time')} and has no end: {more}"
            yield case.finding(RuleId.VERIFY_TRIES, name, message, remedy=remedy)


def _run(case: Case) -> Iterator[Finding]:
    """Compare what the first and the last line of the ledger say with result.json."""
    result = case.document(RESULT)
    score, pinned = mapping(result.get("score")), mapping(result.get("pinned"))
    for entry in case.entries(ledger.ADMITTED, ledger.RESULT) if result else ():
        ends = entry.get("kind") == ledger.RESULT
        pairs = [(name, entry.get(name), result.get(name)) for name in (("outcome",) if ends else _SAME)]
        pairs += [(f"score.{name}", entry.get(name), score.get(name)) for name in _SAME_SCORE if ends]
        pairs += [(f"pinned.{name}", value, pinned.get(name)) for name, value in mapping(entry.get("pinned")).items()]
        for name, claimed, found in pairs:
            if claimed != found:
                message = f"{name} is {found!r} here; the ledger says {claimed!r}"
                yield case.finding(RuleId.VERIFY_LEDGER, RESULT, message)


def _tries(case: Case) -> Iterator[Finding]:
    """Compare the tries that were made with those in result.json and in the attempts' folders."""
    if not case.records:
        return
    made = {_id(entry): entry for entry in case.entries(ledger.TRY)}
    ends = {_id(entry): entry for entry in case.entries(ledger.END)}
    attempts = case.document(RESULT).get("attempts")
    listed = {_id(a, "index"): a for a in (attempts if isinstance(attempts, list) else ()) if isinstance(a, dict)}
    for id_ in sorted(made.keys() | ends.keys() | listed.keys()):
        where = f"attempt {id_[0]}, try {id_[1]},"
        for name, tries in ((LEDGER, made), (LEDGER, ends), (RESULT, listed)):
            if id_ not in tries:
                what = "its end" if tries is ends else "it"
                yield case.finding(RuleId.VERIFY_TRIES, name, f"{where} was made, and {what} is not here")
                break
        else:
            yield from _contradictions(case, where, made[id_], ends[id_], listed[id_])
    for entry in case.entries(ledger.RESULT):
        if entry.get("tries") != len(listed):
            message = f"{RESULT} lists {len(listed)} tries, the ledger says {entry.get('tries')}"
            yield case.finding(RuleId.VERIFY_TRIES, RESULT, message)


def _contradictions(case: Case, where: str, made: Entry, end: Entry, listed: Mapping[str, Any]) -> Iterator[Finding]:
    """Compare what ledger, result.json and attempt.json say about one try."""
    files = end.get("files")
    names = [name for name in files or () if str(name).endswith("attempt.json")] if isinstance(files, dict) else []
    attempt = case.document(names[0]) if names else {}
    for name, document in ((RESULT, listed), (names[0] if names else "attempts", attempt)):
        said = {"seed": made.get("seed"), **{key: end.get(key) for key in _SAME_END}}
        for key, claimed in said.items():
            if document.get(key) != claimed:
                message = f"{where} has {key} {document.get(key)!r}; the ledger says {claimed!r}"
                yield case.finding(RuleId.VERIFY_TRIES, name, message)
    pods = {str(pod.get("uid")): pod for pod in _mappings(attempt.get("pods")) if pod.get("uid")}
    for pod in _mappings(made.get("pods")):
        there = pods.get(str(pod.get("uid")), {})
        for key in _SAME_POD:
            if there.get(key) and pod.get(key) and there[key] != pod[key]:
                message = f"{where} has a pod with {key} {there[key]!r}; the ledger says {pod[key]!r}"
                yield case.finding(RuleId.VERIFY_TRIES, names[0], message)


def _checkpoints(case: Case) -> Iterator[Finding]:
    """Check that each log begins with what had been received of it, if the process that received all of it stored it.

    One that died may have lost what it had received and not stored yet.
    """
    ends = {_id(entry): entry for entry in case.entries(ledger.END)}
    received: dict[tuple[str, str], list[Entry]] = {}
    for entry in case.entries(ledger.CHECKPOINT):
        received.setdefault(_id(entry), []).append(entry)
    for id_, entries in received.items():
        files = ends.get(id_, {}).get("files")
        name = next((n for n in files or () if n.endswith("/result.txt")), "") if isinstance(files, dict) else ""
        writers = {str(entry.get("segment")).rpartition("-")[2] for entry in entries}
        if writers != {f"{ends.get(id_, {}).get('writer')}.log"} or name not in case.keys:
            continue
        sizes = ((entry.get("logBytes"), entry.get("logSha256")) for entry in entries)
        wanted = {size: sha256 for size, sha256 in sizes if isinstance(size, int) and size >= 0}
        found = _beginnings(case.store, name, sorted(wanted))
        if wrong := next((size for size in sorted(wanted) if found.get(size) != wanted[size]), None):
            message = f"its first {wrong} bytes are not those that a checkpoint in the ledger had"
            yield case.finding(RuleId.VERIFY_CHECKPOINT, name, message)


def _beginnings(store: Store, name: str, sizes: Sequence[int]) -> dict[int, str]:
    """Return the SHA-256 of the first bytes of a file, for each of `sizes`, in ascending order."""
    found: dict[int, str] = {}
    sum_, read, wanted = hashlib.sha256(), 0, list(sizes)
    for chunk in store.chunks(name):
        rest = memoryview(chunk)
        while wanted and wanted[0] <= read + len(rest):
            size = wanted.pop(0)
            sum_.update(rest[: size - read])
            rest, read = rest[size - read :], size
            found[size] = sum_.hexdigest()
        sum_.update(rest)
        read += len(rest)
    return found


def _id(entry: Entry, index: str = "attempt") -> tuple[str, str]:
    """Return what a try is called; as text, since a forged entry may have anything there."""
    return str(entry.get(index)), str(entry.get("try"))


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
