"""Verify a stored result: is it signed, is its ledger complete, and is every file the one that was stored?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from podium.documents import LimitError
from podium.results import ledger
from podium.results.ledger import LEDGER, Entry
from podium.results.run_ledger import open_ledgers
from podium.results.writer import NOT_SEALED, PUBLIC_KEY, RESULT, STATEMENT, SUMS
from podium.rules import Finding
from podium.rules.catalog import RuleId
from podium.stores import NotFound, Store, digest, document_bytes, read_sums
from podium.submissions.ledgers import Case, about_ledger, unended

if TYPE_CHECKING:
    from podium.results.signature import PublicKey

_NAMES = frozenset({SUMS, LEDGER, STATEMENT, RESULT})  # what makes a folder a result


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
            return f"Not verified: {_counted(len(self.findings), 'finding', 'findings')}; nothing is proven."
        stored = f"its {self.files} files and the {len(self.entries)} lines of its ledger"
        if self.signed_by:
            made = "the only try that was" if self.tries == 1 else f"each of the {self.tries} tries that were"
            return (
                f"Proven: the holder of key {self.signed_by} signed {stored} as the operator stored them, with {made} "
                "made; not proven: that the program and its nodes did what they logged, and that no other run was made."
            )
        signed = "is signed, but by whom was not checked: pass --key" if self.has_statement else "is not signed"
        return (
            f"Not proven: the result {signed}; {stored} fit together, with {_counted(self.tries, 'try', 'tries')}, but "
            "whoever can write to the folder could have made all of them."
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
            yield from unended(Case(below, path, frozenset(below.list())))


def verify(store: Store, path: str, key: PublicKey | None, *, contents: bool = True) -> Verified:
    """Verify the result in a folder, with the administrator's public key if it is known. Raises StoreError.

    Without `contents`, files are not compared with SHA256SUMS.
    """
    below = store.child(path) if path else store
    case = Case(below, path, frozenset(below.list()))
    found = [*_files(case, contents=contents), *about_ledger(case)]
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
        return Provenance(
            "not signed", "no ledger", f"{_counted(counted, 'try', 'tries')} counted; how many were made is not known"
        )
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
    complete = (
        f"ledger with {_counted(gaps, 'gap', 'gaps')}" if gaps else f"complete ledger of {len(found.entries)} lines"
    )
    return Provenance(signed, complete, f"{_counted(found.tries, 'try', 'tries')} made, {counted} counted", findings)


def _key_beside(store: Store, path: str) -> PublicKey | None:
    from podium.results.signature import KeyFileError, read_public_key  # noqa: PLC0415 - slow to load

    try:
        return read_public_key(document_bytes(store, f"{path}/{PUBLIC_KEY}".lstrip("/")), PUBLIC_KEY)
    except (NotFound, LimitError, KeyFileError):
        return None


def _files(case: Case, *, contents: bool) -> Iterator[Finding]:
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


def _signature(case: Case, key: PublicKey) -> Iterator[Finding]:
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
        content = document_bytes(case.store, PUBLIC_KEY)
        beside = signature.read_public_key(content, PUBLIC_KEY).keyid
    except (NotFound, LimitError, signature.KeyFileError):
        content, beside = b"", ""
    if beside != key.keyid:
        yield case.finding(RuleId.VERIFY_SIGNATURE, PUBLIC_KEY, "is not the key that has signed the result")
    elif content != signature.public_pem(key):
        yield case.finding(RuleId.VERIFY_SIGNATURE, PUBLIC_KEY, "was changed, but is still the key that has signed")
    subjects = {s.get("name"): s.get("digest", {}).get("sha256") for s in statement.get("subject", ())}
    for name in (SUMS, LEDGER):
        if name in case.keys and subjects.get(name) != digest(case.store, name):
            yield case.finding(RuleId.VERIFY_SIGNATURE, name, "is not the file that was signed")
    signed_run = statement.get("predicate", {}).get("run")
    run = case.document(RESULT).get("run")
    if run != signed_run:
        yield case.finding(RuleId.VERIFY_SIGNATURE, RESULT, f"it is of run {run}; what was signed is of {signed_run}")


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
