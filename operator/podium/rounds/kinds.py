"""The kinds of rules for hyperparameters in the closed division.

A round file names a kind and its parameters; the formulas are here. Nothing in a file is ever evaluated. Each kind
describes what it allows (`text`), checks a value (`allows`), and finds the closest allowed value (`nearest`).
`settings` are all hyperparameters of the run: some rules depend on the batch size.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

BATCH = "global_batch_size"
Settings = Mapping[str, Any]
_TOLERANCE = 1e-6  # logs contain 0.08750000000000001
_MOST = 1e9  # limit of a factor or an exponent: beyond it, the nearest one is meaningless
_LARGEST_BATCH = 10_000_000
_MOST_SHOWN = 64
_MOST_HALVED = 64  # times that a value is halved or doubled


class _Kind(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    takes_lists: ClassVar[bool] = False  # whether a list is one value instead of several

    def text(self, settings: Settings) -> str:
        """Describe the allowed values to the user."""
        raise NotImplementedError

    def nearest(self, value: Any, settings: Settings) -> Any:
        """Return the allowed value closest to `value`; None if there is no closest one."""
        raise NotImplementedError

    def allows(self, value: Any, settings: Settings) -> bool:
        """Return whether `value`, which has the right type, is allowed."""
        return same(value, self.nearest(value, settings))

    def reference(self, settings: Settings) -> Any:
        """Return the reference's value if it follows from the rule; None if not."""
        return None


class Unconstrained(_Kind):
    """ "Arbitrary constant"."""

    kind: Literal["unconstrained"] = "unconstrained"

    def text(self, settings: Settings) -> str:
        return "any"

    def nearest(self, value: Any, settings: Settings) -> Any:
        return value


class Range(_Kind):
    """A number with a lower bound."""

    kind: Literal["range"] = "range"
    minimum: float | None = None
    exclusive_minimum: float | None = None

    def text(self, settings: Settings) -> str:
        return f"{self.minimum:g} or more" if self.minimum is not None else f"more than {self.exclusive_minimum:g}"

    def nearest(self, value: Any, settings: Settings) -> Any:
        if self.exclusive_minimum is not None and value <= self.exclusive_minimum:
            return None
        return value if self.minimum is None or value >= self.minimum else self.minimum

    def allows(self, value: Any, settings: Settings) -> bool:
        return bool(self.nearest(value, settings) == value)


class OneOf(_Kind):
    """One of a few values."""

    kind: Literal["oneOf"] = "oneOf"
    values: tuple[Any, ...] = Field(min_length=1)

    def text(self, settings: Settings) -> str:
        return _either(self.values)

    def nearest(self, value: Any, settings: Settings) -> Any:
        if isinstance(value, bool):
            return next((v for v in self.values if isinstance(v, bool)), None)
        if _is_number(value):
            return min((v for v in self.values if _is_number(v)), key=lambda v: abs(v - value), default=None)
        names = [v for v in self.values if isinstance(v, str)]
        close = difflib.get_close_matches(str(value), names, n=1, cutoff=0.0)
        return close[0] if close else None


class ScaledSgd(_Kind):
    """The learning rate of SGD: the reference's, multiplied by a whole number r.

    `per_batch` is the batch size of `bases` if the reference itself scales its rate with the batch (ResNet: 0.128 for
    256 images); the reference's rate at the run's batch size may then be multiplied as well.
    """

    kind: Literal["scaledSgd"] = "scaledSgd"
    bases: tuple[float, ...] = Field(min_length=1)
    per_batch: int | None = None

    def text(self, settings: Settings) -> str:
        words = f"{_either(self.bases)}, times a whole number"
        if not self.per_batch:
            return words
        at = self._at_batch(settings)
        also = f"{_either(at)} (for {_batch(settings)} samples)" if at else f"that times {BATCH} / {self.per_batch}"
        return f"{words}, or {also}{', times one' if at else ''}"

    def nearest(self, value: Any, settings: Settings) -> Any:
        bases = (*self.bases, *self._at_batch(settings))
        return min((base * _whole(value / base, least=1) for base in bases), key=lambda rate: abs(rate - value))

    def _at_batch(self, settings: Settings) -> tuple[float, ...]:
        batch = _batch(settings)
        return tuple(base * batch / self.per_batch for base in self.bases) if batch and self.per_batch else ()


class WarmupFactor(_Kind):
    """The linear warm-up of SGD, lr(b) = r0 - (wb - b) * r0 / (wb * 2^k): k, or the fraction 1 - 1/2^k of its start."""

    kind: Literal["warmupFactor"] = "warmupFactor"
    counts: Literal["exponent", "ratio"]

    def text(self, settings: Settings) -> str:
        if self.counts == "exponent":
            return "a whole number k of 0 or more: warm-up starts at 1 - 1/2^k of the rate"
        return "1 - 1/2^k for a whole number k: 0, 0.5, 0.75, 0.875, ..."

    def nearest(self, value: Any, settings: Settings) -> Any:
        if self.counts == "exponent":
            return _whole(value, least=0)
        ratios = [1 - 2.0**-k for k in range(31)]
        return min(ratios, key=lambda ratio: abs(ratio - value))


class Multiple(_Kind):
    """A whole multiple of `of`; for batches below `fraction_below`, also `of` divided by a whole number."""

    kind: Literal["multiple"] = "multiple"
    of: float = Field(gt=0)
    fraction_below: int | None = None

    def text(self, settings: Settings) -> str:
        words = f"{shown(self.of)}, times a whole number"
        return words + (
            f" (below a batch of {self.fraction_below}, also divided by one)" if self.fraction_below else ""
        )

    def nearest(self, value: Any, settings: Settings) -> Any:
        batch = _batch(settings)
        if self.fraction_below and batch and batch < self.fraction_below and 0 < value < self.of:
            return self.of / _whole(self.of / value, least=1)
        return self.of * _whole(value / self.of, least=1)


class PowerOfTwo(_Kind):
    """`times`, doubled or halved any number of times."""

    kind: Literal["powerOfTwo"] = "powerOfTwo"
    times: float = Field(gt=0)

    def text(self, settings: Settings) -> str:
        return f"{shown(self.times)} times a power of two: {shown(self.times / 2)}, {shown(self.times)}, ..."

    def nearest(self, value: Any, settings: Settings) -> Any:
        exponent = math.log2(value / self.times) if value > 0 else -_MOST_HALVED
        return self.times * 2.0 ** round(min(max(exponent, -_MOST_HALVED), _MOST_HALVED))


class ScaledWithBatch(_Kind):
    """`base` for a batch of `per_batch` samples, times (batch / per_batch) ** `power`.

    `lowest` and `highest` are the ratios to that value which are allowed; it may be rounded to `decimals`.
    """

    kind: Literal["scaledWithBatch"] = "scaledWithBatch"
    base: float
    per_batch: int = Field(ge=1)
    power: float = 1
    lowest: float = 1
    highest: float = 1
    decimals: int | None = None

    def text(self, settings: Settings) -> str:
        value = self.reference(settings)
        scaled = f"{shown(self.base)} * ({BATCH} / {self.per_batch})" + (f"^{self.power:g}" if self.power != 1 else "")
        words = scaled if value is None else f"{shown(value)} (for {_batch(settings)} samples)"
        return words if self.lowest == self.highest else f"{self.lowest:g} to {self.highest:g} times {words}"

    def nearest(self, value: Any, settings: Settings) -> Any:
        scaled = self.reference(settings)
        return value if scaled is None else min(max(value, self.lowest * scaled), self.highest * scaled)

    def allows(self, value: Any, settings: Settings) -> bool:
        rounding = 0.0 if self.decimals is None else 10.0**-self.decimals
        return math.isclose(value, self.nearest(value, settings), rel_tol=_TOLERANCE, abs_tol=rounding)

    def reference(self, settings: Settings) -> float | None:
        batch = _batch(settings)
        return None if batch is None else float(self.base * (batch / self.per_batch) ** self.power)


class StretchedSchedule(_Kind):
    """The boundaries at which the rate drops: the reference's, times t = 1 + k/10 with the same k, rounded down.

    `per_batch` is the batch size whose steps `boundaries` count; without it they are epochs. Boundaries beyond the end
    of the run may be omitted.
    """

    takes_lists: ClassVar[bool] = True
    kind: Literal["stretchedSchedule"] = "stretchedSchedule"
    boundaries: tuple[int, ...] = Field(min_length=1)
    per_batch: int | None = None

    def text(self, settings: Settings) -> str:
        unit, batch = "", _batch(settings)
        if self.per_batch:
            unit = f" steps of {self.per_batch} samples" + (f" (so {self._at(0, batch)} of {batch})" if batch else "")
        return f"{list(self.boundaries)}{unit}, times 1 + k/10 for one whole number k of 0 or more, rounded down"

    def nearest(self, value: Any, settings: Settings) -> Any:
        batch = _batch(settings)
        asked = list(value)[: len(self.boundaries)] or [0]
        scale = self.per_batch / batch if self.per_batch and batch else 1
        about = {
            _whole((number / (boundary * scale) - 1) * 10, least=0)
            for number, boundary in zip(asked, self.boundaries, strict=False)
        }
        stretched = [self._at(k + d, batch)[: len(asked)] for k in about for d in (-1, 0, 1) if k + d >= 0]
        return min(stretched, key=lambda one: sum(abs(a - b) for a, b in zip(one, asked, strict=True)))

    def allows(self, value: Any, settings: Settings) -> bool:
        nearest = self.nearest(value, settings)
        slack = 1 if self.per_batch else 0  # the submitter chooses how to round a step
        return len(value) == len(nearest) and all(abs(a - b) <= slack for a, b in zip(value, nearest, strict=True))

    def reference(self, settings: Settings) -> list[int]:
        return self._at(0, _batch(settings))

    def _at(self, k: int, batch: int | None) -> list[int]:
        steps, samples = (self.per_batch, batch) if self.per_batch and batch else (1, 1)
        return [boundary * (10 + k) * steps // (10 * samples) for boundary in self.boundaries]


class PerSample(_Kind):
    """`values`, or `each` times the samples of a rank, which are any divisor of the batch."""

    kind: Literal["perSample"] = "perSample"
    values: tuple[int, ...]
    each: int = Field(ge=1)

    def text(self, settings: Settings) -> str:
        batch = _batch(settings)
        return f"{_either(self.values)}, or {self.each} times {f'a divisor of {batch}' if batch else 'a whole number'}"

    def nearest(self, value: Any, settings: Settings) -> Any:
        batch = _batch(settings)
        counts = list(_divisors(batch)) if batch else [_whole(value / self.each, least=1)]
        return min((*self.values, *(self.each * n for n in counts)), key=lambda number: abs(number - value))


Kind = Annotated[
    Unconstrained
    | Range
    | OneOf
    | ScaledSgd
    | WarmupFactor
    | Multiple
    | PowerOfTwo
    | ScaledWithBatch
    | StretchedSchedule
    | PerSample,
    Field(discriminator="kind"),
]


def same(one: Any, other: Any) -> bool:
    """Return whether two values are equal: numbers within a tolerance, lists item by item."""
    if _is_number(one) and _is_number(other):
        return math.isclose(one, other, rel_tol=_TOLERANCE)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return type(one) is type(other) and bool(one == other)


def shown(value: Any) -> str:
    """Format a value as a user would write it; nested values are abbreviated, since YAML can nest without limit."""
    if isinstance(value, list | tuple):
        items = ["[...]" if isinstance(item, list | tuple) else shown(item) for item in value[:_MOST_SHOWN]]
        return f"[{', '.join([*items, *['...'][: len(value) - len(items)]])}]"
    if isinstance(value, dict):
        return "{...}"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _either(values: Sequence[Any]) -> str:
    return " or ".join(map(shown, values))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(number: float, least: int) -> int:
    return round(min(max(number, least), _MOST))


def _batch(settings: Settings) -> int | None:
    size = settings.get(BATCH)
    return size if isinstance(size, int) and not isinstance(size, bool) and 0 < size <= _LARGEST_BATCH else None


def _divisors(number: int) -> Iterator[int]:
    for small in range(1, math.isqrt(number) + 1):
        if number % small == 0:
            yield small
            yield number // small
