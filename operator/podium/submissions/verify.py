"""Verify a stored result: is it signed, is its ledger complete, and is every file the one that was stored?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from podium.documents import DocumentError, LimitError, read_json
from podium.results import ledger
from podium.results.ledger import LEDGER, Entry
from podium.results.run_ledger import open_ledgers
from podium.results.writer import NOT_SEALED, PUBLIC_KEY, RESULT, STATEMENT, SUMS
from podium.rules import Finding
from podium.rules.catalog import RuleId
from podium.stores import NotFound, Store, digest, document_bytes, read_sums

if TYPE_CHECKING:
    from podium.results.signature import PublicKey

_NAMES = frozenset({SUMS, LEDGER, STATEMENT, RESULT})  # what makes a folder a result
_RESTORE = "restore the original, or ask for it"


@dataclass(frozen=True, slots=True)
class Verified:
    """What is known of one result. `signed_by` is the id of the key that was asked for, if it has signed the result."""

    path: str  # of its folder below the store
    signed_by: str = ""
    has_statement: bool = False
    files: int = 0
    entries: Sequence[Entry] = ()
    findings: tuple[Finding, ...] = ()
    namespace: str = ""  # of the run
    uid: str = ""
    benchmark: tuple[str, str] = ("", "")  # with its round before it
    sums: str = ""  # SHA-256 of SHA256SUMS

    @property
    def tries(self) -> int:
        """The tries that were made, according to the ledger."""
        return sum(entry.get("kind") == ledger.TRY for entry in self.entries)

    @property
    def sentence(self) -> str:
        """What is proven, and what is not."""
        if self.findings:
            count = len(self.findings)
            return f"Not verified: {count} {'finding' if count == 1 else 'findings'}; nothing is proven."
        tries = "1 try" if self.tries == 1 else f"{self.tries} tries"
        stored = f"its {self.files} files and the {len(self.entries)} lines of its ledger"
        if self.signed_by:
            return (
                f"Proven: the holder of key {self.signed_by} signed {stored} as the operator stored them, with each of "
                f"the {tries} that were made; not proven: that the program and its nodes did what they "
                "logged, and that no other run was made."
            )
        signed = "is signed, but by whom was not checked: pass --key" if self.has_statement else "is not signed"
        return (
            f"Not proven: the result {signed}; {stored} fit together, with {tries}, but whoever can write "
            "to the folder could have made all of them."
        )

    def document(self) -> Mapping[str, Any]:
        """As printed by ``--json``."""
        return {
            "path": self.path,
            "signedBy": self.signed_by or None,
            "files": self.files,
            "ledgerLines": len(self.entries),
            "tries": self.tries,
            "sentence": self.sentence,
            "findings": [finding.document() for finding in self.findings],
        }


@dataclass(slots=True)
class _Case:
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


def result_paths(store: Store) -> list[str]:
    """Return the folders below `store` that hold a result, what is left of one, or a run that has not ended."""
    keys = store.list()
    folders = {key.rpartition("/")[::2] for key in keys}
    return sorted({folder for folder, name in folders if name in _NAMES} | {folder for folder, _ in open_ledgers(keys)})


def unfinished(store: Store) -> Iterator[Finding]:
    """Yield findings about runs below `store` that have started tries and have not ended. Raises StoreError."""
    keys = frozenset(store.list())
    for path in sorted({folder for folder, _ in open_ledgers(keys)}):
        if f"{path}/{LEDGER}".lstrip("/") not in keys:
            below = store.child(path) if path else store
            yield from _unended(_Case(below, path, frozenset(below.list())))


def verify(store: Store, path: str, key: PublicKey | None, *, contents: bool = True) -> Verified:
    """Verify the result in a folder, with the administrator's public key if it is known. Raises StoreError.

    Without `contents`, files are not compared with SHA256SUMS.
    """
    below = store.child(path) if path else store
    case = _Case(below, path, frozenset(below.list()))
    found = [*_files(case, contents=contents), *_ledger(case), *_tries(case), *_checkpoints(case)]
    signed_by = ""
    if key:
        unsigned = list(_signature(case, key))
        signed_by = "" if unsigned else key.keyid
        found = unsigned + found
    document = case.document(RESULT)
    run = document.get("run")
    run = run if isinstance(run, dict) else {}
    return Verified(
        path,
        signed_by,
        has_statement=STATEMENT in case.keys,
        files=len(case.sums),
        entries=case.entries(),
        findings=tuple(found),
        namespace=str(run.get("namespace")),
        uid=str(run.get("uid")),
        benchmark=(str(document.get("round")), str(document.get("benchmark"))),
        sums=digest(case.store, SUMS) if SUMS in case.keys else "",
    )


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a review and a report say about where a result comes from, in phrases; findings if it contradicts itself."""

    signed: str
    ledger: str
    tries: str
    findings: tuple[Finding, ...] = ()


def provenance(store: Store, path: str, counted: int, key: PublicKey | None = None) -> Provenance:
    """Say who has signed the result in a folder, whether its ledger is complete, and that `counted` of its tries count.

    Without a `key`, the one beside the result is taken, which anybody can have put there. Raises StoreError.
    """
    keys = frozenset((store.child(path) if path else store).list())
    if not {LEDGER, STATEMENT} & keys:
        return Provenance("not signed", "no ledger", f"{counted} tries counted; how many were made is not known")
    beside = None if key or STATEMENT not in keys else _key_beside(store, path)
    found = verify(store, path, key or beside, contents=False)
    findings = tuple(finding for finding in found.findings if finding.rule != RuleId.VERIFY_FILES)
    if STATEMENT not in keys:
        signed = "not signed"
    elif not (key or beside):
        signed = "signed by a key that is not here"
    elif not found.signed_by:
        signed = "not signed by the key" if key else "not signed by the key beside it"
    else:
        signed = f"signed by key {found.signed_by}" + ("" if key else ", which is beside it: podium verify --key K")
    gaps = sum(finding.rule == RuleId.VERIFY_LEDGER for finding in findings)
    complete = f"ledger with {gaps} gaps" if gaps else f"complete ledger of {len(found.entries)} lines"
    return Provenance(signed, complete, f"{found.tries} tries made, {counted} counted", findings)


def _key_beside(store: Store, path: str) -> PublicKey | None:
    from podium.results.signature import KeyFileError, read_public_key  # noqa: PLC0415 - slow to load

    try:
        return read_public_key(document_bytes(store, f"{path}/{PUBLIC_KEY}".lstrip("/")), PUBLIC_KEY)
    except (NotFound, LimitError, KeyFileError):
        return None


def _files(case: _Case, *, contents: bool) -> Iterator[Finding]:
    """Compare every file with SHA256SUMS, in both directions."""
    try:
        case.sums = {name: sha256 for sha256, name in read_sums(case.store, SUMS)}
    except NotFound:
        yield case.finding(RuleId.VERIFY_FILES, SUMS, "is missing: the result was not finished, or it was removed")
        return
    except LimitError as error:
        yield case.finding(RuleId.VERIFY_FILES, SUMS, str(error))
        return
    for name, sha256 in case.sums.items():
        if name not in case.keys:
            yield case.finding(RuleId.VERIFY_FILES, name, f"is missing; {SUMS} lists it")
        elif contents and digest(case.store, name) != sha256:
            yield case.finding(RuleId.VERIFY_FILES, name, f"is not the file that {SUMS} lists: one of them was changed")
    for name in sorted(case.keys - case.sums.keys()):
        if not name.startswith(NOT_SEALED):
            yield case.finding(RuleId.VERIFY_FILES, name, f"was added: {SUMS} does not list it", remedy="remove it")


def _ledger(case: _Case) -> Iterator[Finding]:
    """Follow the chain, and compare what it knows of files with SHA256SUMS."""
    try:
        text = document_bytes(case.store, LEDGER)
    except NotFound:
        if not open_ledgers(case.keys):
            yield case.finding(RuleId.VERIFY_LEDGER, LEDGER, "is missing: which tries were made is not known")
        yield from _unended(case)
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
    yield from _unended(case)


def _unended(case: _Case) -> Iterator[Finding]:
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


def _tries(case: _Case) -> Iterator[Finding]:
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


def _contradictions(case: _Case, where: str, made: Entry, end: Entry, listed: Mapping[str, Any]) -> Iterator[Finding]:
    """Compare what ledger, result.json and attempt.json say about one try."""
    files = end.get("files")
    names = [name for name in files or () if str(name).endswith("attempt.json")] if isinstance(files, dict) else []
    attempt = case.document(names[0]) if names else {}
    for name, document in ((RESULT, listed), (names[0] if names else "attempts", attempt)):
        said = {"seed": made.get("seed"), **{key: end.get(key) for key in ("state", "timeToTrainSeconds")}}
        for key, claimed in said.items():
            if document.get(key) != claimed:
                message = f"{where} has {key} {document.get(key)!r}; the ledger says {claimed!r}"
                yield case.finding(RuleId.VERIFY_TRIES, name, message)


def _checkpoints(case: _Case) -> Iterator[Finding]:
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


def _signature(case: _Case, key: PublicKey) -> Iterator[Finding]:
    """Check that `key` has signed SHA256SUMS and the ledger as they are now."""
    from podium.results import signature  # noqa: PLC0415 - slow to load

    ask = "ask the administrator for the signed result, or for the key that has signed it"
    try:
        statement = signature.signed_statement(document_bytes(case.store, STATEMENT), key, STATEMENT)
    except NotFound:
        yield case.finding(RuleId.VERIFY_SIGNATURE, STATEMENT, "is missing: the result is not signed", remedy=ask)
        return
    except (signature.SignatureError, LimitError) as error:
        yield case.finding(RuleId.VERIFY_SIGNATURE, STATEMENT, str(error), remedy=ask)
        return
    try:
        beside = signature.read_public_key(document_bytes(case.store, PUBLIC_KEY), PUBLIC_KEY).keyid
    except (NotFound, LimitError, signature.KeyFileError):
        beside = ""
    if beside != key.keyid:
        yield case.finding(RuleId.VERIFY_SIGNATURE, PUBLIC_KEY, "is not the key that has signed the result")
    subjects = {s.get("name"): s.get("digest", {}).get("sha256") for s in statement.get("subject", ())}
    for name in (SUMS, LEDGER):
        if name in case.keys and subjects.get(name) != digest(case.store, name):
            yield case.finding(RuleId.VERIFY_SIGNATURE, name, "is not the file that was signed")
    signed_run = statement.get("predicate", {}).get("run")
    run = case.document(RESULT).get("run")
    if run != signed_run:
        yield case.finding(RuleId.VERIFY_SIGNATURE, RESULT, f"it is of run {run}; what was signed is of {signed_run}")


def _id(entry: Entry, index: str = "attempt") -> tuple[str, str]:
    """Return what a try is called; as text, since a forged entry may have anything there."""
    return str(entry.get(index)), str(entry.get("try"))
