"""The rate of a log: within a window, or the median over blocks, without the first one and evaluations."""

import pytest

from podium.mllog import Event, Format, LogAccumulator, Rate, Window, rate, summarize

T0 = 1_700_000_000.0


def points(*lines):
    folder = LogAccumulator()
    for number, (seconds, key, value, metadata) in enumerate(lines):
        folder.add(Event(Format.MLLOG, T0 + seconds, key, value, metadata, number))
    return folder.snapshot().points


def start(seconds=0.0):
    return (seconds, "run_start", None, {})


def trained(seconds, samples, key="tracked_stats"):
    return (seconds, key, {"throughput": 1e9} if key == "tracked_stats" else None, {"samples_count": samples})


def every_second(samples=100.0, until=120, more=()):
    lines = [start(), *(trained(second, second * samples) for second in range(1, until)), *more]
    return points(*sorted(lines, key=lambda line: line[0]))


def test_the_rate_is_that_between_the_first_points_at_or_after_both_ends():
    slow, fast = [trained(s, s * 10) for s in range(1, 31)], [trained(s, 300 + (s - 30) * 50) for s in range(31, 91)]
    found = points(start(), *slow, *fast)
    assert found.rate(Window(30, seconds=20)) == Rate(1000.0, 20.0, is_whole=True)
    assert found.rate(Window(0, seconds=29)).per_second == pytest.approx(10)


def test_samples_may_end_it():
    found = every_second()
    assert found.rate(Window(10, samples=3000)) == Rate(3000.0, 30.0, is_whole=True)
    assert found.rate(Window(10, samples=1e9)) == Rate(10_900.0, 109.0, is_whole=False)


def test_a_log_that_goes_on_keeps_its_rate():
    """An attempt is ended when its window is over, and its program prints more until it has ended."""
    window, lines = Window(7, seconds=40), [start(), *(trained(s / 3, s**1.1) for s in range(1, 600))]
    whole = points(*lines).rate(window)
    first = next(n for n in range(len(lines)) if (rate := points(*lines[:n]).rate(window)) and rate.is_whole)
    assert first < 160
    assert all(points(*lines[:n]).rate(window) == whole for n in range(first, len(lines), 7))


def test_evaluations_and_pauses_between_blocks_do_not_count():
    pause = [(60.5, "eval_start", None, {}), (90.5, "eval_stop", None, {})]
    lines = [start(), *(trained(s, s * 100) for s in range(1, 61)), *pause]
    lines += [trained(s + 30, s * 100) for s in range(61, 100)]
    assert points(*lines).rate(Window(10, seconds=100)).per_second == pytest.approx(100)
    blocks = [trained(10, 0, "block_start"), trained(60, 500, "block_stop"), trained(90, 500, "block_start")]
    blocks += [trained(140, 1000, "block_stop")]
    assert points(start(), *blocks).rate(Window(20, seconds=60)) == Rate(500.0, 50.0, is_whole=True)


def test_a_log_without_a_number_of_samples_says_how_fast_it_has_trained():
    lines = [(second, "tracked_stats", {"throughput": 300.0 + second}, {"step": second}) for second in (10, 20, 40)]
    assert points(start(), *lines).rate(Window(5, seconds=30)) == Rate(320 * 10 + 340 * 20, 30.0, is_whole=True)


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [start()],
        [start(), trained(70, 5)],
        [trained(70, 5), trained(80, 10)],
        [start(100), trained(70, 5), trained(80, 10)],
        [start(), trained(70, 5), trained(80, 5), trained(65, 9)],
        [
            start(),
            *((70 + n, "block_stop", None, {"samples_count": n_}) for n, n_ in enumerate((float("nan"), "x", None))),
        ],
    ],
    ids=["empty", "nothing trained", "one point", "no run_start", "before run_start", "nothing more", "no numbers"],
)
def test_it_is_unknown_until_the_log_says_twice_what_was_trained(lines):
    assert points(*lines).rate(Window(60, seconds=10)) is None


def test_a_run_that_was_started_again_has_the_rate_of_the_last_start():
    lines = [start(), trained(1, 100), trained(50, 200), (60, "init_start", None, {}), start(70), trained(80, 10)]
    assert points(*lines, trained(90, 30)).rate(Window(5, seconds=5)) == Rate(20.0, 10.0, is_whole=True)


def test_the_memory_of_a_long_log_is_bounded():
    week = points(start(), *(trained(s, s) for s in range(1, 7 * 86400, 20)))
    assert len(week) < 700
    assert week.rate(Window(86400, seconds=86400)).per_second == pytest.approx(1)


def log(*lines):
    """`lines` are (seconds, key, metadata)."""
    return summarize(Event(Format.MLLOG, 1000.0 + at, key, None, metadata, 0) for at, key, metadata in lines)


def evaluation(start, stop, **position):
    return [(start, "eval_start", position), (stop, "eval_stop", position)]


def test_the_first_block_and_evaluations_do_not_count():
    lines = [(0, "run_start", {}), *evaluation(900, 905, samples_count=100)]
    for number in range(1, 4):
        lines += evaluation(905 + 55 * number - 5, 905 + 55 * number, samples_count=100 * (number + 1))
    assert rate(log(*lines)) == Rate(1.0, 0.5, "sample", blocks=3)


def test_a_slow_block_does_not_move_the_median():
    stops = [10, 20, 30, 95, 105]
    lines = [(0, "run_start", {})]
    for number, stop in enumerate(stops, 1):
        lines += evaluation(stop, stop, epoch_num=number)
    assert rate(log(*lines)) == Rate(1.0, 10.0, "epoch", blocks=4)


@pytest.mark.parametrize("count", [0, 1])
def test_it_takes_two_blocks(count):
    lines = [(0, "run_start", {}), *(evaluation(10, 11, samples_count=5) * count)]
    assert rate(log(*lines)) is None


def test_an_epoch_may_begin_while_other_processes_evaluate():
    """RetinaNet of v5.1: the time from the end of an evaluation to the next one is not that of an epoch."""
    lines = [(0, "run_start", {}), (0, "epoch_start", {"epoch_num": 0})]
    for number in range(1, 4):
        at = 100 * number
        lines += [(at, "eval_start", {"epoch_num": number}), (at + 1, "epoch_start", {"epoch_num": number})]
        lines += [(at + 31, "eval_accuracy", {"epoch_num": number}), (at + 31, "eval_stop", {"epoch_num": number})]
    assert rate(log(*lines)) == Rate(1.0, 99.0, "epoch", blocks=2)
