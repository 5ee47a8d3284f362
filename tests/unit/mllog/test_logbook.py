"""What is kept of a growing log, and what a log says."""

from __future__ import annotations

import errno
import json
import os

import pytest

from podium.mllog import LogBuffer, logbook, parse, seconds, summarize


def line(key, value=None, ms=0, **metadata):
    return ":::MLLOG " + json.dumps({"time_ms": ms, "key": key, "value": value, "metadata": metadata})


def summary(*lines):
    return summarize(parse(lines)[0])


def test_the_first_start_and_the_last_stop_count():
    found = summary(
        line("init_start", ms=1000), line("init_start", ms=1500), line("init_stop", ms=2000),
        line("run_start", ms=3000), line("run_stop", ms=8000, status="aborted"),
        line("run_stop", ms=9000, status="success"),
    )  # fmt: skip
    assert (found.init_start, found.init_stop, found.run_start, found.run_stop) == (1, 2, 3, 9)
    assert (seconds(found), found.run_stop_status, found.out_of_order) == (6, "success", False)


def test_a_stop_before_a_start_is_noticed():
    assert summary(line("run_stop", ms=9000), line("run_start", ms=3000)).out_of_order


def test_progress():
    found = summary(
        line("train_samples", 1000), line("run_start", max_epochs=10),
        line("tracked_stats", {"throughput": 250.5, "loss": 2}, epoch_num=1.5, samples_count=1500),
    )  # fmt: skip
    assert (found.epoch, found.samples, found.throughput, found.train_samples, found.max_epochs) == (
        1.5,
        1500,
        250.5,
        1000,
        10,
    )


def test_numbers_beyond_64_bits_still_fit_into_a_status():
    found = summary(line("tracked_stats", {"throughput": 1}, samples_count=10**19))
    assert found.samples == 2**63 - 1
    assert summary(line("tracked_stats", {"throughput": 1}, samples_count=-(10**19))).samples == -(2**63) + 1


def test_a_line_is_cut_as_a_terminal_would_show_it():
    bar = "part 1: 10%|##  | [loss 0.1]"
    assert LogBuffer.pieces(f"{bar}\r{bar}\r{bar}:::MLLOG 1\r:::MLLOG 2\r{bar}\r ") == [
        f"{bar}:::MLLOG 1",
        ":::MLLOG 2",
        bar,
    ]
    assert LogBuffer.pieces("[rank0]: :::MLLOG 1") == ["[rank0]: :::MLLOG 1"]
    assert LogBuffer.pieces("#" * 100_000 + ":::MLLOG 1") == [":::MLLOG 1"]
    assert LogBuffer.pieces("\r\r") == [""]


def test_lines_beyond_the_limit_are_dropped_and_that_is_known(monkeypatch):
    monkeypatch.setattr(logbook, "MAX_MLPERF_BYTES", 300)
    book = LogBuffer()
    added = [book.add(line("eval_accuracy", number)) for number in range(6)]
    assert added == [False, False, False, True, None, None]
    assert (book.overflow, len(list(book.mlperf_lines())), len(book.summary.evaluations)) == (True, 3, 3)


def test_a_full_disk_leaves_what_is_there(monkeypatch):
    book = LogBuffer()
    long = line("eval_accuracy", 0.5, text="x" * 50_000)
    book.add(long)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full_disk)
        with pytest.raises(OSError, match="No space left"):
            book.add(long)
    book.add(long)
    assert (list(book.mlperf_lines()), book.summary.lines) == ([long, long], 2)


def full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_long_log_leaves_the_memory_and_stays_whole():
    book = LogBuffer()
    for number in range(5000):
        book.add(line("tracked_stats", {"throughput": number}), "")
    assert len(list(book.mlperf_lines())) == 5000


def test_the_tail_has_no_colors_and_no_titles():
    buffer = LogBuffer()
    for text in ("\x1b[31mRuntimeError\x1b[0m: CUDA", "\x1b[0m", "\x1b]0;title\x07done"):
        buffer.add(text)
    assert buffer.tail == "RuntimeError: CUDA | done"


def test_each_line_is_heard(monkeypatch):
    buffer, times = LogBuffer(), iter([5.0, 9.0])
    assert buffer.heard is None
    monkeypatch.setattr(logbook.time, "time", lambda: next(times))
    buffer.add("step 1")
    assert buffer.heard == 5.0
    buffer.add(line("tracked_stats", {"loss": 1}))
    assert buffer.heard == 9.0


def test_the_tail_holds_the_trainers_last_words_not_torchruns_report():
    book = LogBuffer()
    for text in (
        "resnet: --target '1.1' is not a number above 0 and up to 1",
        "E1123 22:35:50.774 torch/distributed/elastic/multiprocessing/api.py:1002] failed (exitcode: 2) local_rank: 0",
        "Traceback (most recent call last):",
        "============================================================",
    ):
        book.add(text)
    assert book.tail == "resnet: --target '1.1' is not a number above 0 and up to 1"


def test_the_first_unreadable_line_is_named():
    book = LogBuffer()
    for text in ("hello", ":::MLLOG {", ":::MLLOG ["):
        book.add(text)
    assert book.problem.startswith("line 2 cannot be read: broken JSON")


def test_the_lines_of_the_clock_keep_when_they_were_seen():
    book = LogBuffer()
    at = "2026-11-18T11:06:40.500000000Z@0badcafe:1795000001.250+0.750"
    for text in (line("run_start"), line("tracked_stats", {"throughput": 1}), line("eval_accuracy", 0.5)):
        book.add(text, at)
    book.add(line("run_stop"), "2026-11-18T11:06:42Z")
    (start,), (evaluation,), (stop,) = (
        book.sightings.starts,
        book.sightings.evaluations,
        book.sightings.stops,
    )
    assert start[2:] == evaluation[2:] == (1_795_000_000.5, 1_795_000_001.25, 0.75, "0badcafe")
    assert stop[2:] == (1_795_000_002.0, None, None, "")
    rows = [row.partition(b" ")[0].decode() for row in book.rows(0, 10_000).splitlines()]
    assert rows == [at, at.partition("@")[0], at, "2026-11-18T11:06:42Z"]  # the others cost no bytes
    assert all(text.startswith(":::MLLOG") for text in book.mlperf_lines())


def test_what_is_kept_of_many_evaluations_is_bounded():
    book = LogBuffer()
    for number in range(1000):
        book.add(line("eval_accuracy", number), f"2026-11-18T11:06:40Z@0badcafe:{number}.000")
        book.add(line("run_start"), "2026-11-18T11:06:40Z")
    seen = book.sightings
    assert [one.received for one in seen.evaluations] == [*range(128), *range(872, 1000)]
    assert (seen.left_out, len(seen.starts)) == (744, 8)


@pytest.mark.parametrize("receipt", ["", "@", "@0badcafe:x", "@0badcafe:1.000+", "@ffff:1.000", "@0badcafe:1.0+2.0x"])
def test_a_broken_receipt_says_nothing(receipt):
    book = LogBuffer()
    book.add(line("run_start"), f"yesterday{receipt}")
    assert book.sightings.starts[0][2:] == (None, None, None, "")


def test_a_line_that_is_not_there_is_lacking_whatever_its_time():
    book = LogBuffer()
    book.add(line("run_start"), "2026-11-18T11:06:40Z@0badcafe:1.000")
    assert not book.lacks(book.key(line("run_start"), "2026-11-18T11:06:40Z"))
    earlier = book.key(line("run_start"), "2026-11-18T10:06:40Z")
    assert book.lacks(earlier)
    book.add(line("run_start"), "2026-11-18T10:06:40Z")
    assert not book.lacks(earlier)
    assert book.key("noise", "2026-11-18T10:06:40Z") is None


def arranged(order, here):
    """The numbers of the lines `here` after they were put into the `order` of other numbers."""
    book = LogBuffer()
    lines = {number: line("eval_accuracy", number, ms=number * 1000, epoch_num=number) for number in (*order, *here)}
    for number in here:
        book.add(lines[number], "2026-11-18T11:06:40Z@0badcafe:1.000")
    before = book.size_bytes
    book.arrange([book.key(lines[number], "2026-11-18T11:06:40Z") for number in order])
    after = [evaluation.epoch for evaluation in book.summary.evaluations]
    assert (book.size_bytes, [one.stamp for one in book.sightings.evaluations]) == (
        before,
        [evaluation.time for evaluation in book.summary.evaluations],
    )
    return after, book.arranged


@pytest.mark.parametrize(
    ("order", "here", "there", "times"),
    [
        ([1, 2, 3], [1, 2, 3], [1, 2, 3], 0),
        ([1, 2, 3], [2, 3, 1], [1, 2, 3], 1),
        ([2, 3, 4], [1, 3, 4, 2], [1, 2, 3, 4], 1),  # the node has rotated 1 away
        ([3, 4], [1, 2, 3, 4], [1, 2, 3, 4], 0),
        ([1, 2], [1, 2, 3], [1, 2, 3], 0),  # 3 was printed since
        ([1, 2, 3, 4], [2, 4], [2, 4], 0),  # there was no room for the others
        ([], [1, 2], [1, 2], 0),
        ([1, 2], [2, 1, 1], [1, 1, 2], 1),
    ],
)
def test_lines_are_put_into_the_order_of_the_log(order, here, there, times):
    assert arranged(order, here) == (there, times)


def test_a_log_of_very_many_lines_stays_as_it_was_received(monkeypatch):
    monkeypatch.setattr(logbook, "_MOST_ARRANGED", 2)
    assert arranged([1, 2, 3], [3, 1, 2]) == ([3, 1, 2], 0)
    assert arranged([1, 2], [3, 2, 1]) == ([3, 2, 1], 0)
