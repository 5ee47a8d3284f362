"""Write an object once in a store without conditional puts, such as Google's: the lock object.

Who wants to write an object first puts a claim beside it, then lists the claims. Whoever sees only their own may write;
whoever sees another withdraws and tries again after a random pause. Of two writers, the one that lists second sees the
claim of the first, so at most one writes. That holds for any pause, as long as the store lists what it has acknowledged
(Amazon's, Google's, Cloudflare's and Ceph's do).

The claim of a process that died lapses. A process that only stood still must not write after that: its request is
signed and sent within a minute of its claim, or not at all, and a store refuses a request whose signature is older than
15 minutes by the store's clock. So a claim lapses after 45 minutes, by the store's clock: a minute, twice 15 minutes
for a client's clock that is ahead, and the rest for a slow upload. What this does not guard against: a store that does
not check the age of signatures, and one that takes longer than that to complete a put.
"""

from __future__ import annotations

import contextlib
import random
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from podium.stores.base import PRIVATE, AlreadyExists, StoreError, StoreUnavailable
from podium.stores.s3_client import clock

SEND_SECONDS = 60.0
LAPSE_SECONDS = 45 * 60.0
_ROUNDS = 5
_PAUSE_SECONDS = 0.2
_BUSY_SECONDS = 300.0


class Bucket(Protocol):
    """What the lock object needs of a store."""

    url: str

    def put_plainly(self, key: str, data: bytes) -> None: ...
    def exists(self, key: str) -> bool: ...
    def modified(self, prefix: str) -> Mapping[str, float]:
        """The keys that start with `prefix`, and when each was written, in Unix seconds of the store's clock."""

    def delete(self, key: str) -> None: ...


class LockObject:
    """The claims of one process."""

    def __init__(self) -> None:
        self._owner = secrets.token_hex(8)
        self._one = threading.Lock()  # the threads of a process share its claims
        self._unsure: set[str] = set()  # claims of puts without an answer: they may yet happen, so the claim stays

    def put(self, bucket: Bucket, key: str, write: Callable[[float], None]) -> None:
        """Call `write` with the time of `clock` until which it may send, if no other process may write `key`.

        Raises AlreadyExists, or StoreUnavailable while another process has a claim.
        """
        if not self._one.acquire(timeout=_BUSY_SECONDS):
            raise StoreUnavailable(f"{bucket.url}/{key}: other objects are being written; a retry may help")
        try:
            self._put(bucket, key, write)
        finally:
            self._one.release()

    def _put(self, bucket: Bucket, key: str, write: Callable[[float], None]) -> None:
        folder, slash, name = key.rpartition("/")
        prefix = f"{folder}{slash}{PRIVATE}claim-{name}."
        mine = prefix + self._owner
        for number in range(_ROUNDS):
            if number:
                time.sleep(random.uniform(0, _PAUSE_SECONDS * 2**number))  # noqa: S311 - not a secret
            send_until = clock() + SEND_SECONDS  # from before the claim, so that the claim outlasts it
            bucket.put_plainly(mine, b"")
            claims = bucket.modified(prefix)
            others = {
                claim for claim, at in claims.items() if claim != mine and claims.get(mine, 0) - at < LAPSE_SECONDS
            }
            if mine in claims and not others:
                self._write(bucket, key, mine, partial(write, send_until))
                for old in claims.keys() - {mine}:
                    bucket.delete(old)
                return
            self._withdraw(bucket, mine)
        raise StoreUnavailable(
            f"{bucket.url}/{key}: another process is writing it ({', '.join(sorted(others))}); its claim lapses "
            f"{LAPSE_SECONDS / 60:.0f} minutes after it was made; a retry may help"
        )

    def _write(self, bucket: Bucket, key: str, mine: str, write: Callable[[], None]) -> None:
        """Write as the only one with a claim."""
        if bucket.exists(key):
            self._unsure.discard(mine)
            self._withdraw(bucket, mine)
            raise AlreadyExists(f"{bucket.url}/{key} already exists")
        self._unsure.add(mine)
        try:
            write()
        except StoreUnavailable:
            raise
        except StoreError:
            self._unsure.discard(mine)
            self._withdraw(bucket, mine)
            raise
        self._unsure.discard(mine)
        self._withdraw(bucket, mine)

    def _withdraw(self, bucket: Bucket, mine: str) -> None:
        if mine not in self._unsure:
            with contextlib.suppress(StoreError):  # it lapses
                bucket.delete(mine)
