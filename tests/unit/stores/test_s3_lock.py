"""One writer among many in a store without conditional puts."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from podium.stores import AlreadyExists, StoreUnavailable, s3_client, s3_lock
from podium.stores.s3 import S3Store
from tests.unit.stores.conftest import Opened, Server
from tests.unit.stores.dialects import Dialect, FakeS3, google, old_ceph


@pytest.fixture(autouse=True)
def one_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_client, "_TRIES", 1)


@pytest.mark.parametrize("dialect", [google(), old_ceph()], ids=["ignored", "refused"])
def test_of_many_processes_only_one_writes(server: Server, opened: Opened, dialect: Dialect) -> None:
    fake = server(dialect)
    stores = [opened(fake) for _ in range(4)]
    for store in stores:
        store.check()
    written: list[str] = []
    dialect.put_hook = written.append
    start = threading.Barrier(len(stores))

    def put(number: int) -> bool:
        start.wait()
        while True:
            try:
                stores[number].put("run/result.json", f"{number}".encode(), if_absent=True)
            except StoreUnavailable:
                continue  # as the operator does, later
            except AlreadyExists:
                return False
            return True

    with ThreadPoolExecutor(len(stores)) as pool:
        won = [number for number, first in enumerate(pool.map(put, range(len(stores)))) if first]
    assert len(won) == 1
    assert written.count("podium/run/result.json") == 1
    assert fake.objects.keys() == {"podium/run/result.json"}
    assert stores[0].get("run/result.json") == str(won[0]).encode()


def claims(fake: FakeS3) -> set[str]:
    return {key for key in fake.objects if ".podium-claim-result.json." in key}


def died(fake: FakeS3, store: S3Store) -> None:
    """Leave the claim of a process that was killed between its claim and its put."""
    store._put(".podium-claim-result.json.dead", b"")


def test_a_claim_holds_others_off_until_it_lapses(
    server: Server, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_lock, "_PAUSE_SECONDS", 0.001)
    fake = server(google())
    store = opened(fake)
    store.check()
    died(fake, store)
    with pytest.raises(
        StoreUnavailable,
        match=r"another process is writing it \(.podium-claim-result.json.dead\); its claim lapses 45 minutes after",
    ):
        store.put("result.json", b"1", if_absent=True)
    assert "podium/result.json" not in fake.objects
    key = "podium/.podium-claim-result.json.dead"
    fake.objects[key] = b"", fake.now() - 44 * 60
    with pytest.raises(StoreUnavailable):
        store.put("result.json", b"1", if_absent=True)
    fake.objects[key] = b"", fake.now() - 46 * 60
    store.put("result.json", b"1", if_absent=True)
    assert fake.objects.keys() == {"podium/result.json"}, "the claims are gone"


def test_a_leader_that_stood_still_writes_no_more(
    server: Server, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is frozen after it has claimed; meanwhile its claim lapses and another writes; then it goes on."""
    fake = server(google())
    frozen, other = opened(fake), opened(fake)
    for store in (frozen, other):
        store.check()
    now = [0.0]
    monkeypatch.setattr(s3_client, "clock", lambda: now[0])
    monkeypatch.setattr(s3_lock, "clock", lambda: now[0])
    exists = frozen.exists

    def freeze(key: str) -> bool:
        answer = exists(key)
        now[0] += 50 * 60
        for claim in claims(fake):
            fake.objects[claim] = b"", fake.now() - 50 * 60
        other.put("result.json", b"other", if_absent=True)
        return answer

    monkeypatch.setattr(frozen, "exists", freeze)
    with pytest.raises(StoreUnavailable, match="this process stood still for too long to write this safely"):
        frozen.put("result.json", b"frozen", if_absent=True)
    monkeypatch.undo()
    assert other.get("result.json") == b"other"
    with pytest.raises(AlreadyExists):
        frozen.put("result.json", b"frozen", if_absent=True)
    assert fake.objects.keys() == {"podium/result.json"}


def test_a_put_without_an_answer_keeps_its_claim(
    server: Server, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may still happen, so nobody else may write; the same process may repeat it."""
    monkeypatch.setattr(s3_lock, "_PAUSE_SECONDS", 0.001)
    fake = server(google())
    store, other = opened(fake), opened(fake)
    for one in (store, other):
        one.check()

    def fail(key: str) -> None:
        if key == "podium/result.json":
            raise ConnectionError

    fake.dialect.put_hook = fail
    monkeypatch.setattr(fake.server, "handle_error", lambda *_: None)
    with pytest.raises(StoreUnavailable):
        store.put("result.json", b"1", if_absent=True)
    assert len(claims(fake)) == 1
    fake.dialect.put_hook = lambda key: None
    with pytest.raises(StoreUnavailable, match="another process is writing it"):
        other.put("result.json", b"2", if_absent=True)
    store.put("result.json", b"1", if_absent=True)
    assert fake.objects.keys() == {"podium/result.json"}
