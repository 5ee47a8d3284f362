"""A signed result of two attempts, one of which was tried twice, as files by name."""

from __future__ import annotations

from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner

from podium.api import AttemptState, Score, TryId
from podium.reconcile import StoreAttempt, StoreResult
from podium.results import AttemptFiles, LogDigest, ResultWriter, Segment
from podium.results.signature import SigningKey, read_public_key
from podium.stores import open_store
from tests.unit.reconcile import examples as ex
from tests.unit.results.test_writer import pod_log

KEY = SigningKey(CryptoSigner(Ed25519PrivateKey.from_private_bytes(b"podium" + bytes(26))))  # the same each time
PUBLIC = read_public_key(KEY.public_pem.encode(), "podium.pub")
LINES = [f':::MLLOG {{"key": "step", "value": {number}}}' for number in range(20)]


def made(folder, signer=KEY):
    """Write the result into a folder. Returns its files by name."""
    lost = ex.attempt(1, AttemptState.FAILED, reason="PodLost").model_copy(update={"seed": 11})
    tries = [
        lost,
        ex.attempt(1, AttemptState.CONVERGED, 1, time_to_train_seconds="41.000").model_copy(update={"seed": 12}),
        ex.attempt(2, AttemptState.CONVERGED, time_to_train_seconds="42.000").model_copy(update={"seed": 13}),
    ]
    run = ex.run(ex.status(*tries))
    writer = ResultWriter(open_store(str(folder)), run, signer=signer)
    for number, attempt in enumerate(tries):
        lines = [f"{line} {number}" for line in LINES]
        for end in (5, 12):
            rows = "".join(f"2026-01-01T00:00:00Z {line}\n" for line in lines[:end]).encode()
            sum_ = LogDigest().with_rows(rows)
            segment = Segment(TryId(attempt.index, attempt.try_), "aa", 0, rows, sum_.size, sum_.sha256)
            writer.put_checkpoint(segment, [replace(ex.running(0), uid=f"pod-{number}", node=f"node-{number}")])
        files = AttemptFiles(
            summary=ex.log(ex.START, ex.GOOD, ex.SUCCESS).summary,
            lines=lines,
            containers=[replace(ex.ended(0), uid=f"pod-{number}", node=f"node-{number}")],
            pod_logs={"pod-0.log": pod_log(b"hello\n" * (number + 1))},
            writer="aa",
        )
        writer.put_attempt(StoreAttempt(attempt, concluding=attempt is not lost), files)
        writer.drop_checkpoint(attempt.id)
    score = Score(time_to_train_minutes="0.6917", valid=True, official=False)
    writer.put_result(StoreResult(score, tuple(tries), "Complete", ""), target={"top1": 0.9}, nodes=[{"name": "n"}])
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}
