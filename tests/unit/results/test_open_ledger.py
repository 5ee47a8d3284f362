"""The ledger of a run while it grows, and once it is closed, as any process of it finds it."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from podium.results import ledger
from podium.results.run_ledger import RunLedger, open_ledgers
from podium.stores import AlreadyExists, StoreUnavailable
from tests.unit.results.ledgers import unbroken
from tests.unit.results.test_writer import MemoryStore

UID = "11111111-2222"
ADMITTED, TRY, END, LAST = (
    {"kind": "admitted"}, {"kind": "try", "attempt": 1, "try": 0},
    {"kind": "end", "attempt": 1, "try": 0, "state": "Failed"}, {"kind": "result", "tries": 1},
)  # fmt: skip
FIRST, SECOND = "ledger-11111111-000001.jsonl", "ledger-11111111-000002.jsonl"
FOREIGN = "ledger-99999999-000001.jsonl"


class Store(MemoryStore):
    def together(self):
        return nullcontext(self)


@pytest.fixture
def store():
    return Store()


def kinds(entries):
    return [entry["kind"] for entry in entries]


def test_any_process_continues_it(store):
    one, other = RunLedger(store, UID), RunLedger(store, UID)
    assert (one.begun(), one.closed(), kinds(one.entries())) == (False, None, [])
    one.append(ADMITTED, TRY)
    assert (one.begun(), one.closed()) == (True, None)
    other.append(END)  # it had not seen that it has begun
    assert (other.begun(), RunLedger(store, UID).begun()) == (True, True)
    assert kinds(RunLedger(store, UID).entries()) == ["admitted", "try", "end"]
    assert store.list() == [FIRST, SECOND]
    assert open_ledgers(store.list()) == {("", "11111111"): [FIRST, SECOND]}


def test_parts_of_another_run_in_the_folder_are_not_its_own(store):
    """As on a laptop, where a run that was killed has left them."""
    store.put(FOREIGN, ledger.append(ledger.Head(), [ADMITTED, TRY], 0.0)[0])
    process = RunLedger(store, UID)
    assert not process.begun()
    process.append(ADMITTED)
    assert process.begun()
    assert store.list() == [FIRST, FOREIGN]


def test_what_was_said_is_not_said_again(store):
    """Neither by the process that said it nor by another one; only what is new is added."""
    RunLedger(store, UID).append(ADMITTED, TRY)
    for process in (RunLedger(store, UID), RunLedger(store, UID)):
        process.append(ADMITTED)
        process.append(TRY, END)
    assert store.list() == [FIRST, SECOND]
    assert kinds(ledger.records_of(store.get(SECOND))[1]) == ["end"]


def test_a_closed_ledger_stays_as_it_is(store):
    """For the process that has closed it, for one that comes later, and for one that closes it again."""
    one, late = RunLedger(store, UID), RunLedger(store, UID)
    one.append(ADMITTED, TRY)
    late.append(ADMITTED)
    closed = one.close(LAST)
    assert kinds(unbroken(closed)) == ["admitted", "try", "result"]
    assert late.close({"kind": "result", "tries": 2}) == closed
    for process in (one, late, RunLedger(store, UID)):
        process.append(END)
        assert (process.closed(), process.begun(), kinds(process.entries())) == (
            closed, True, ["admitted", "try", "result"],
        )  # fmt: skip
    assert store.list() == [FIRST, "ledger.jsonl"]


@pytest.mark.parametrize("is_later", [False, True])
def test_its_parts_are_removed_and_no_other_ones(store, is_later):
    process = RunLedger(store, UID)
    process.append(ADMITTED)
    process.append(TRY)
    store.put(FOREIGN, b"of another run in the same folder\n")
    process.close(LAST)
    (RunLedger(store, UID) if is_later else process).drop_parts()
    assert store.list() == [FOREIGN, "ledger.jsonl"]


def test_what_is_put_together_with_other_files_is_put_with_them(store):
    """The block's store defers what one call to the folder would put at once."""
    process, block = RunLedger(store, UID), Store()
    process.append(ADMITTED, within=block)
    assert (store.list(), block.list()) == ([], [FIRST])
    process.close(LAST, within=block)
    assert (store.list(), block.list()) == ([], [FIRST, "ledger.jsonl"])


class TakenStore(Store):
    """Somebody else takes each next part first."""

    def put(self, key, data, **options):
        head = ledger.head_of(b"".join(self.files.values()))
        super().put(key, ledger.append(head, [{"kind": "checkpoint"}], 0.0)[0], **options)
        raise AlreadyExists(key)


def test_an_entry_that_finds_no_place_is_tried_again_later():
    with pytest.raises(StoreUnavailable, match="memory:: others add to its ledger all the time; a retry may help"):
        RunLedger(TakenStore(), UID).append(ADMITTED)
