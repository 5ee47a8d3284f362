"""The stamps of a log against the times at which its lines were seen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from podium.api import Reason
from podium.mllog import LogSummary, Sighting, Sightings
from podium.rules import clock_fault, clock_notes, node_clock_offset

T0 = 1_795_000_000.0


def seen(key, at, *, stamped=0.0, node=0.0, late=0.0, delay=0.01, observer="a"):
    """A line that was printed `at` seconds: stamped so much later, by a node's clock that is so much ahead, received so
    much later by an operator that can vouch for `delay` seconds."""
    printed = T0 + at + node
    return Sighting(key, printed + stamped, printed, T0 + at + late, delay, observer)


def fault(*lines):
    starts, stops, evaluations = (
        tuple(line for line in lines if line.key == key) for key in ("run_start", "run_stop", "eval_accuracy")
    )
    summary = LogSummary(
        lines=len(lines),
        run_start=starts[-1].stamp if starts else None,
        run_start_count=len(starts),
        run_stop=stops[-1].stamp if stops else None,
    )
    return clock_fault(summary, Sightings(starts, stops, evaluations))


def attempt(*, step=0.0, at=70.0, **of):
    """An attempt of two minutes on a node whose clock is set by `step` seconds `at` some time."""
    times = {"run_start": [0.0], "eval_accuracy": [30.0, 60.0, 90.0, 119.9], "run_stop": [120.0]}
    return [
        seen(key, one, **{"node": step if one > at else 0.0, **of}) for key, places in times.items() for one in places
    ]


HONEST = {
    "seen at once": attempt(),
    "on a node that is an hour ahead": attempt(node=3600.0),
    "on a node that is an hour behind": attempt(node=-3600.0),
    "read an hour late, when the operator started": attempt(late=3600.0, delay=None),
    "of a program that was restarted, read as a whole when the operator started": [
        seen(key, at, late=3600.0 - at, delay=None)
        for key, at in (("run_start", -90.0), ("eval_accuracy", -60.0), ("run_start", 0.0), ("eval_accuracy", 30.0),
                        ("eval_accuracy", 60.0), ("run_stop", 120.0))
    ],
    "printed half a second late": attempt(stamped=-0.5),
    "held up for a second each": attempt(late=1.0, delay=1.0),
    "followed by two processes, with clocks that differ by a minute": [
        *attempt()[:3], *(seen(line.key, line.received - T0, late=-60.0, observer="b") for line in attempt()[3:]),
    ],
    "the end was held up for a minute, as the operator knows": [
        *attempt()[:-1], seen("run_stop", 120.0, late=60.0, delay=60.0),
    ],
    "held up by a slow API server, the last two by the same time, and one before them for longer": [
        seen("run_start", 0, delay=5.0),
        *(seen("eval_accuracy", 18.5 * at, late=late, delay=late + 13) for at, late in ((1, 0), (2, 0.6), (3, 0), (4, 13.4), (5, 8.7))),
        seen("run_stop", 112.1, late=8.8, delay=14.6),
    ],
    "polled through a slow API server, which held up two lines by the same time": [
        *(seen("run_start", 0.0, late=2.5, delay=5.0), seen("eval_accuracy", 18.0, late=2.5, delay=5.0)),
        *(seen("eval_accuracy", 30.0, late=10.5, delay=16.0), seen("eval_accuracy", 60.0, late=3.8, delay=8.6)),
        seen("run_stop", 120.0, late=10.1, delay=13.1),
    ],
    "one line was left out, and found by a read of the whole log after the end": [
        seen("run_start", 0.0), seen("eval_accuracy", 30.0), seen("eval_accuracy", 90.0),
        seen("eval_accuracy", 60.0, late=60.0, delay=None), seen("run_stop", 119.0),
    ],
    "the start was read when the operator started, the end as it came": [
        seen("run_start", 0.0, late=100.0, delay=None), seen("run_stop", 120.0),
    ],
    "set back and right again, so that the operator saw as much time pass": [
        seen("run_start", 0.0), seen("eval_accuracy", 60.0, node=-3600.0), seen("run_stop", 120.0),
    ],
    "evaluated beside the training, and printed later": [
        seen("run_start", 0.0), seen("eval_accuracy", 60.0, stamped=-45.0), seen("run_stop", 120.0),
    ],
    "slewed by 0.05 % for an hour": [seen("run_start", 0.0), seen("run_stop", 3600.0, node=1.8)],
    "without any times": [Sighting("run_start", T0), Sighting("run_stop", T0 + 120)],
    "on a laptop whose start was not seen": [seen("run_stop", 120.0)],
}  # fmt: skip


@pytest.mark.parametrize("case", HONEST)
def test_what_nothing_contradicts_is_believed(case):
    assert fault(*HONEST[case]) is None


LIES = {
    "the start is stamped later": (
        [seen("run_start", 0.0, stamped=8.0), seen("run_stop", 12.0, stamped=-1.0)],
        "the log says 3.0 s, the operator saw 12.0 s; run_start arrived 8.0 s before its stamp (2026-11-18T11:06:40.000Z",
    ),
    "the end is stamped earlier": (
        [seen("run_start", 0.0), seen("run_stop", 60.0, stamped=-30.0)],
        "the log says 30.0 s, the operator saw 60.0 s; run_stop arrived 30.0 s after its stamp",
    ),
    "the end is stamped later": (
        [seen("run_start", 0.0), seen("run_stop", 60.0, stamped=5.0)],
        "the log says 65.0 s, the operator saw 60.0 s; run_stop arrived 5.0 s before its stamp",
    ),
    "an evaluation is stamped before it can be known": (
        [seen("run_start", 0.0), seen("eval_accuracy", 30.0, stamped=29.0), seen("run_stop", 60.0)],
        "eval_accuracy arrived 29.0 s before its stamp",
    ),
    "everything is printed at the end": (
        [seen("run_start", 60.0, stamped=-60.0), seen("run_stop", 60.0)],
        "the log says 60.0 s, the operator saw 0.0 s; run_start arrived 60.0 s after its stamp",
    ),
    "all stamps are an hour behind the node": (
        attempt(stamped=-3600.0), "run_start arrived 3600.0 s after its stamp"
    ),
    "all stamps are an hour ahead of a node that is an hour behind": (
        attempt(stamped=3600.0, node=-3600.0), "run_start arrived 3600.0 s before its stamp"
    ),
    "more than a hundredth of a long attempt": (
        [seen("run_start", 0.0), seen("run_stop", 1000.0, stamped=-10.1)], "run_stop arrived 10.1 s after its stamp"
    ),
    "a log that was read an hour late": (
        attempt(stamped=-8.0, late=3600.0, delay=None), "run_start arrived 8.0 s after its stamp"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LIES)
def test_a_line_is_printed_at_the_time_that_it_is_stamped_with(case):
    lines, text = LIES[case]
    reason, message = fault(*lines)
    assert reason is Reason.CLOCK_INVALID
    assert message.startswith(text) or f"; {text}" in message


def test_a_hundredth_of_a_long_attempt_may_be_late():
    assert fault(seen("run_start", 0.0), seen("run_stop", 1000.0, stamped=-9.9)) is None


@pytest.mark.parametrize("step", [-3600.0, -40.0, -8.0, 8.0, 40.0, 3600.0])
@pytest.mark.parametrize("delay", [0.01, 60.0, None])
def test_a_clock_that_is_set_is_a_cause_of_its_own(step, delay):
    """With a long delay nobody vouches for a single line; that all show the same offset does."""
    reason, message = fault(*attempt(step=step, delay=delay))
    way = "ahead" if step > 0 else "back"
    assert reason is Reason.NODE_CLOCK_STEPPED
    assert message.startswith(f"the clock of the node was set {way} by ")
    assert message.endswith(
        f"s or more between run_start and run_stop: the log says {120 + step:.1f} s, the operator saw 120.0 s"
    )


def polled(*late_by, step=0.0, since=0):
    """An attempt of ten minutes whose log is read every five seconds. The clock is set at line number `since`."""
    keys = ["run_start", *["eval_accuracy"] * (len(late_by) - 2), "run_stop"]
    return [
        seen(key, 600.0 * at / (len(late_by) - 1), node=step if at >= since else 0.0, late=late, delay=5.02)
        for at, (key, late) in enumerate(zip(keys, late_by, strict=True))
    ]


def test_lines_that_are_polled_show_a_small_step_together():
    """One line bounds the offset from above, another from below."""
    late_by = (3.8, 3.7, 4.9, 0.4, 0.1, 0.9, 1.8, 3.4, 3.2)
    assert fault(*polled(*late_by, step=-8.0, since=5))[0] is Reason.NODE_CLOCK_STEPPED
    assert fault(*polled(*late_by, step=8.0, since=5))[0] is Reason.NODE_CLOCK_STEPPED
    assert fault(*polled(*late_by)) is None
    assert fault(*polled(*late_by, step=-3.0, since=5)) is None


@pytest.mark.parametrize("step", [0.0, 8.0])
def test_lines_that_are_polled_bound_a_step_before_lines_that_are_followed(step):
    """Each of the first is late by another time; of the last, no read has come to the end, but they agree."""
    polled_lines = [
        seen(key, at, node=step, late=late, delay=5.02)
        for key, at, late in (("run_start", 0.0, 1.6), ("eval_accuracy", 20.0, 2.5), ("eval_accuracy", 40.0, 0.1))
    ]
    followed = [
        seen(key, at, late=0.05, delay=at - 10.0)
        for key, at in (("eval_accuracy", 60.0), ("eval_accuracy", 80.0), ("eval_accuracy", 100.0), ("run_stop", 120.0))
    ]
    found = fault(*polled_lines, *followed)
    assert (found and found[0]) == (Reason.NODE_CLOCK_STEPPED if step else None)


def test_a_clock_that_is_set_back_hides_lines_that_show_it_once_the_whole_log_is_read():
    """A connection that begins at a second leaves out all lines with earlier stamps."""
    hidden = {"node": -3600.0, "delay": None}
    lines = [
        seen("run_start", 0.0), seen("eval_accuracy", 30.0), seen("eval_accuracy", 60.0, late=60.0, **hidden),
        seen("eval_accuracy", 90.0, late=30.0, **hidden), seen("run_stop", 119.0, late=1.0, **hidden),
    ]  # fmt: skip
    assert fault(*lines)[0] is Reason.NODE_CLOCK_STEPPED


def test_a_clock_that_is_set_back_shows_across_a_restart():
    lines = attempt(step=-3600.0)
    after = [replace_(line, observer="b", delay=None) for line in lines[3:]]
    assert fault(*lines[:3], *after)[0] is Reason.NODE_CLOCK_STEPPED
    assert fault(*attempt(step=-40.0)[:3], *(replace_(line, observer="b") for line in attempt(step=-40.0)[3:])) is None


def replace_(line, **changes):
    return line._replace(**changes)


def test_the_offset_of_a_node_is_noted():
    lines = attempt(node=3600.0)
    sightings = Sightings((lines[0],), (lines[-1],), tuple(lines[1:-1]))
    assert node_clock_offset(sightings) == 3600.0
    assert clock_notes(sightings) == [
        "the clock of rank 0's node is 3600.0 s or more ahead of the operator's: check its NTP service"
    ]
    unknown = replace(sightings, starts=(), stops=(), evaluations=(lines[1]._replace(delay=None),))
    assert (node_clock_offset(unknown), clock_notes(unknown)) == (None, [])


@pytest.mark.parametrize(("node", "noted"), [(0.0, None), (-9.0, None), (-11.0, "6.0 s or more behind"), (12.1, None),
                                             (13.1, "5.1 s or more ahead of")])  # fmt: skip
def test_a_line_that_was_received_late_does_not_make_a_clock_wrong(node, noted):
    """Each line was received 8 s after it was printed, of 13 that are possible: logs that are polled are read so late."""
    lines = attempt(node=node, late=8.0, delay=13.0)
    notes = clock_notes(Sightings((lines[0],), (lines[-1],), tuple(lines[1:-1])))
    assert notes == ([f"the clock of rank 0's node is {noted} the operator's: check its NTP service"] if noted else [])


def test_a_stream_that_was_only_followed_shows_a_step_longer_than_the_time_since_the_job():
    """Nothing else vouches for its lines, and each shows the same difference as no other that came at another time."""
    start, stop = seen("run_start", 0.0, late=20.0, delay=60.0), seen("run_stop", 120.0, node=3600.0, delay=180.0)
    assert fault(start, stop)[0] is Reason.NODE_CLOCK_STEPPED
    assert fault(start, seen("run_stop", 120.0, node=35.0, delay=180.0)) is None
