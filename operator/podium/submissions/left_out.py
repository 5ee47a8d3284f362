"""Find runs that were made and whose result is not here: compare results with the chain over all runs."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from podium.results import ledger
from podium.results.chain import chain_text
from podium.results.ledger import Entry
from podium.rules import Finding
from podium.rules.catalog import RuleId
from podium.stores import Store
from podium.submissions.verify import Verified

_CHAIN = re.compile(r"(?P<folder>(?:.*/)?ledger/[^/]+)/[0-9]{9}\.jsonl")


@dataclass(frozen=True, slots=True)
class VerifiedChain:
    """The chain over the runs of a namespace, compared with results."""

    path: str
    lines: int
    runs: int  # that had to be here
    findings: tuple[Finding, ...]

    @property
    def sentence(self) -> str:
        if self.findings:
            count = len(self.findings)
            return f"Not verified: {count} {'finding' if count == 1 else 'findings'}; runs may have been left out."
        return (
            f"The chain over all runs has {self.lines} lines and no gap; the results of {self.runs} of them are here."
        )

    def document(self) -> Mapping[str, Any]:
        """As printed by ``--json``."""
        return {
            "path": self.path,
            "lines": self.lines,
            "runs": self.runs,
            "sentence": self.sentence,
            "findings": [finding.document() for finding in self.findings],
        }


def chain_paths(store: Store) -> list[str]:
    """Return the folders below `store` that hold a chain."""
    return sorted({match["folder"] for key in store.list() if (match := _CHAIN.fullmatch(key))})


def verify_chain(store: Store, where: str, results: Sequence[Verified], *, all_runs: bool) -> VerifiedChain:
    """Compare the chain in `store` with `results`: all runs in it must be among them, or else those of the same
    benchmarks and rounds. Raises StoreError."""
    text = chain_text(store)
    records = list(ledger.read(text))
    entries = [record.entry for record in records]
    ask = "ask who can write to it"
    findings = [
        Finding(RuleId.VERIFY_CHAIN, where, f"there is a gap: {record.problem}", record.number, ask)
        for record in records
        if record.problem
    ]
    benchmarks = {result.benchmark for result in results}
    wanted = {
        str(_run(entry).get("uid")): entry
        for entry in entries
        if all_runs or (entry.get("round"), entry.get("benchmark")) in benchmarks
    }
    here = {result.uid for result in results}
    for uid, entry in wanted.items():
        if uid not in here:
            name = f"{entry.get('result')} ({entry.get('benchmark')}, {entry.get('outcome')})"
            message = f"a run was made whose result is not here: {name}"
            findings.append(Finding(RuleId.VERIFY_CHAIN, where, message, remedy="ask for its result"))
    heads = [hashlib.sha256(line).hexdigest() for line in io.BytesIO(text)]
    namespace = where.rstrip("/").rpartition("/")[2]
    for result in results:
        if not all_runs or result.namespace == namespace:
            findings += _contradictions(result, where, entries, heads)
    return VerifiedChain(where, len(records), len(wanted), tuple(findings))


def _contradictions(result: Verified, where: str, entries: Sequence[Entry], heads: Sequence[str]) -> Iterator[Finding]:
    """Compare a result with the chain that has it, and that its own ledger names."""
    ends = [entry.get("chain") for entry in result.entries if entry.get("kind") == ledger.RESULT]
    sums = [entry.get("sumsSha256") for entry in entries if _run(entry).get("uid") == result.uid]
    name = result.path or "."
    if sums and result.sums not in sums:
        yield Finding(RuleId.VERIFY_CHAIN, name, f"{where} has another SHA256SUMS of it", remedy="ask for the original")
    elif not sums and ends:
        remedy = "name the chain of its namespace, <results.url>/ledger/<namespace>"
        yield Finding(
            RuleId.VERIFY_CHAIN, name, f"{where} {'lacks this run' if heads else 'has no chain'}", remedy=remedy
        )
    for end in ends:
        if not isinstance(end, dict) or not isinstance(lines := end.get("lines"), int):
            continue
        if lines > len(heads) or (lines > 0 and heads[lines - 1] != end.get("sha256")):
            message = f"when it ended, the chain had a line {lines} that it does not have now"
            yield Finding(RuleId.VERIFY_CHAIN, name, message, remedy="ask who can write to the chain")


def _run(entry: Entry) -> Mapping[str, Any]:
    run = entry.get("run")
    return run if isinstance(run, dict) else {}
