"""Segments of a log that grows: their keys, their order, and the digest of the log that they make."""

from __future__ import annotations

import hashlib

import pytest

from podium.api import TryId
from podium.results.checkpoints import LogDigest, Segment, drop, put_segment, segments
from podium.stores import NotFound, open_store

ID = TryId(attempt=3, number=1)
FIRST = "2026-03-01T12:30:05.123456789Z"  # 23 digits, in 30 characters
DIGITS = "20260301123005123456789"


def segment(first=FIRST, start=0, writer="aa", text="one", id_=ID):
    return Segment(id_, writer, start, f"{first} {text}\n".encode(), 0, "")


@pytest.mark.parametrize(
    ("made", "key"),
    [
        (segment(), f"checkpoints-003-1-{DIGITS}-000000000000-aa.log"),
        (segment(text="7"), f"checkpoints-003-1-{DIGITS}-000000000000-aa.log"),  # digits of the time only
        (segment(start=4096, writer="bb"), f"checkpoints-003-1-{DIGITS}-000000004096-bb.log"),
        (segment("2026-03-01T12:30:05Z", text="x"), f"checkpoints-003-1-20260301123005{'0' * 9}-000000000000-aa.log"),
        (segment(id_=TryId(attempt=1000, number=12)), f"checkpoints-1000-12-{DIGITS}-000000000000-aa.log"),
        (Segment(ID, "aa", 0, b"", 0, ""), f"checkpoints-003-1-{'0' * 23}-000000000000-aa.log"),
    ],
)
def test_keys_sort_by_the_time_of_the_first_row(made, key):
    assert made.key == key


def store_of(tmp_path, *keys):
    store = open_store(str(tmp_path))
    for number, key in enumerate(keys):
        store.put(key, f"{number}".encode())
    return store


LATER = FIRST.replace("12:30", "12:31")
OTHERS = ["checkpoints-003-10-1.log", "checkpoints-003-2.log", "checkpoints-013-1-1.log", "result.json"]


def test_segments_by_the_time_of_their_first_row(tmp_path):
    store = store_of(tmp_path, *OTHERS)
    early, late = segment(writer="zz", text="early"), segment(LATER, writer="aa", text="late")
    put_segment(store, late)
    put_segment(store, early)
    assert list(segments(store, ID)) == [(early.key, early.rows), (late.key, late.rows)]


def test_segments_of_earlier_versions_are_read_too(tmp_path):
    """A folder of them; and before that one segment of the whole log, which comes first."""
    folder, whole = "checkpoints/003-1/", "checkpoints/003-1.log"
    keys = ["checkpoints-003-1-3-000000000000-aa.log", f"{folder}2-000000000000-aa.log", whole, f"{folder}4.log"]
    store = store_of(tmp_path, *keys, *OTHERS, "checkpoints/003-10/1.log", "checkpoints/003-10.log")
    assert [key for key, _ in segments(store, ID)] == [keys[2], keys[1], keys[0], keys[3]]


def test_what_another_process_has_dropped_is_left_out(tmp_path):
    store = store_of(tmp_path)
    put_segment(store, segment())
    put_segment(store, segment(LATER))
    found = segments(store, ID)
    next(found)
    store.delete(segment(LATER).key)
    assert list(found) == []


def test_a_checkpoint_is_dropped_with_all_its_segments_and_nothing_else(tmp_path):
    store = store_of(tmp_path, "checkpoints/003-1.log", "checkpoints/003-1/2.log", *OTHERS)
    put_segment(store, segment())
    put_segment(store, segment(LATER))
    drop(store, ID)
    assert sorted(store.list()) == sorted(OTHERS)
    drop(store, ID)
    with pytest.raises(NotFound):
        store.get(segment().key)


def test_the_digest_is_that_of_the_lines_without_timestamps():
    digest = LogDigest()
    assert (digest.size, digest.sha256) == (0, hashlib.sha256(b"").hexdigest())
    digest.add(b"one\n")
    more = digest.with_rows(b"t1 two words\nt2 three\n")
    whole = b"one\ntwo words\nthree\n"
    assert (more.size, more.sha256) == (len(whole), hashlib.sha256(whole).hexdigest())
    assert (digest.size, digest.sha256) == (4, hashlib.sha256(b"one\n").hexdigest())  # as it was
