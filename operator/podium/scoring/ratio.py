"""Whether one group of attempts is faster than another: the ratio of their means, its interval, and the answer."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from enum import StrEnum

from podium.scoring.intervals import Estimate, Interval, fewest_runs
from podium.scoring.student_t import student_t

TOLERANCE = 0.03  # a smaller difference is none, unless it is wanted otherwise


class Answer(StrEnum):
    """What the interval of a ratio of times says."""

    FASTER = "faster"
    SLOWER = "slower"
    SAME = "same"
    UNDECIDED = "undecided"


class Expectation(StrEnum):
    """What a ratio of times may be expected to be; `holds` decides."""

    FASTER = "faster"
    NO_SLOWER = "no-slower"
    SAME = "same"
    NO_FASTER = "no-faster"
    SLOWER = "slower"


class Difference(ABC):
    """A ratio of times, in seconds (or of epochs, samples), with its 95 % interval: below 1, the later is faster."""

    __slots__ = ()

    @property
    @abstractmethod
    def log(self) -> float:
        """The natural logarithm of the ratio."""

    @property
    @abstractmethod
    def half_width(self) -> float:
        """Half the width of the 95 % interval of `log`."""

    @property
    def value(self) -> float:
        """The ratio."""
        return math.exp(self.log)

    @property
    def interval(self) -> Interval:
        """The 95 % interval of the ratio."""
        return Interval(math.exp(self.log - self.half_width), math.exp(self.log + self.half_width))

    @property
    def largest(self) -> float:
        """By how much longer, relatively, the slower group may take at most."""
        return math.expm1(abs(self.log) + self.half_width)


@dataclass(frozen=True, slots=True)
class Ratio(Difference):
    """The mean of one group of times or rates divided by that of another, with Welch's interval on logs (1947)."""

    before: Estimate
    after: Estimate

    @property
    def log(self) -> float:
        return self.after.log - self.before.log

    @property
    def error(self) -> float:
        """The standard error of `log`."""
        return math.hypot(self.before.error, self.after.error)

    @property
    def half_width(self) -> float:
        """With Welch and Satterthwaite's degrees of freedom."""
        if self.error == 0:
            return 0.0
        parts = ((each.error / self.error) ** 4 / each.freedom for each in (self.before, self.after))
        return student_t(1 / sum(parts)) * self.error


@dataclass(frozen=True, slots=True)
class Prediction(Difference):
    """One new result divided by the mean of earlier ones, which vary among themselves as it does.

    `before` is the mean of the earlier results, of which the result is the unit, not the attempt: the attempts of one
    result share its nodes and its day. `after` is the logarithm of the new one. The interval is that of a prediction
    for one more observation of a normal distribution.
    """

    before: Estimate
    after: float

    @property
    def log(self) -> float:
        return self.after - self.before.log

    @property
    def half_width(self) -> float:
        return student_t(self.before.freedom) * self.before.deviation * math.sqrt(1 + 1 / self.before.runs)


def answer(found: Difference, tolerance: float = TOLERANCE) -> Answer:
    """Return the answer: an interval without 1 is a difference, one within `tolerance` of 1 is none."""
    if abs(found.log) > found.half_width:
        return Answer.FASTER if found.log < 0 else Answer.SLOWER
    return Answer.SAME if found.largest <= tolerance else Answer.UNDECIDED


def holds(found: Difference, expected: Expectation, tolerance: float = TOLERANCE) -> bool | None:
    """Return whether the ratio is as expected; None if its interval is partly within what is expected.

    Expected are: faster, below 1; no-slower, at most 1 + `tolerance`; same, within both; and the converse.
    """
    edge = math.log1p(tolerance)
    low, high = {
        Expectation.FASTER: (-math.inf, 0.0),
        Expectation.NO_SLOWER: (-math.inf, edge),
        Expectation.SAME: (-edge, edge),
        Expectation.NO_FASTER: (-edge, math.inf),
        Expectation.SLOWER: (0.0, math.inf),
    }[expected]
    bottom, top = found.log - found.half_width, found.log + found.half_width
    if low < bottom and top < high:
        return True
    return False if top <= low or bottom >= high else None


def more_runs(found: Ratio, tolerance: float = TOLERANCE) -> int | None:
    """Return after how many more attempts in each group there is an answer, if mean and spread stay as they are.

    0 if there is one already; None if it takes more than 10,000.
    """

    def decided(more: int) -> bool:
        wider = Ratio(*(replace(each, runs=each.runs + more) for each in (found.before, found.after)))
        return answer(wider, tolerance) is not Answer.UNDECIDED

    return fewest_runs(decided, 0)
