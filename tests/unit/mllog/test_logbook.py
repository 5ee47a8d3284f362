"""What is kept of a growing log, and what a log says."""

from __future__ import annotations

import json

from podium.mllog import LogBuffer, parse, seconds, summarize


def line(key, value=None, ms=0, **metadata):
    return ":::MLLOG " + json.dumps({"time_ms": ms, "key": key, "value": value, "metadata": metadata})


def summary(*lines):
    return summarize(parse(lines)[0])


def stamp(second):
    return f"2026-01-01T00:00:{second:02}.000000000Z"


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


def test_a_book_that_is_restored_and_read_again_holds_every_line_once():
    first = LogBuffer()
    for second in (1, 2, 3):
        first.add(line("eval_accuracy", second / 10), stamp(second))
    second_life = LogBuffer()
    second_life.restore(first.checkpoint())
    second_life.reconnect()
    for second in (2, 3, 4, 5):  # what the node still has
        second_life.add(line("eval_accuracy", second / 10), stamp(second))
    assert [e.quality["eval_accuracy"] for e in second_life.summary.evaluations] == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert len(list(second_life.mlperf_lines())) == 5


def test_lines_of_the_same_instant_are_all_kept():
    book = LogBuffer()
    book.reconnect()
    for number in range(3):
        book.add(line("eval_accuracy", number), stamp(1))
    assert len(book.summary.evaluations) == 3


def test_a_long_log_leaves_the_memory_and_stays_whole():
    book = LogBuffer()
    for number in range(5000):
        book.add(line("tracked_stats", {"throughput": number}), "")
    assert len(list(book.mlperf_lines())) == 5000


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
