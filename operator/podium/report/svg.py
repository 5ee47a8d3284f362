"""A small SVG library: scales, ticks, marks. All text is escaped; colors are classes in charts.css."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

Pair = tuple[float, float]
_LABEL_WIDTH = 6.6  # mean width of a character at 12 px


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values to pixels, linearly or by the base-2 logarithm."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = (math.log2(v) for v in (self.low, self.high, value)) if self.log else (
            self.low, self.high, value)  # fmt: skip
        ratio = (value - low) / (high - low) if high > low else 0.5
        return self.start + ratio * (self.end - self.start)


@dataclass(slots=True)
class Drawing:
    """A picture of `width` x `height` pixels that scales with its page. Screen readers read its `title`."""

    width: float
    height: float
    title: str
    parts: list[Markup] = field(default_factory=list)

    def line(self, a: Pair, b: Pair, style: str) -> None:
        self.parts.append(
            Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(style, *map(_short, (*a, *b)))
        )

    def path(self, points: Sequence[Pair], style: str) -> None:
        steps = "L".join(f"{_short(x)} {_short(y)}" for x, y in points)
        self.parts.append(Markup('<path class="{}" d="M{}"/>').format(style, steps))

    def circle(self, at: Pair, radius: float, style: str) -> None:
        self.parts.append(
            Markup('<circle class="{}" cx="{}" cy="{}" r="{}"/>').format(style, *map(_short, (*at, radius)))
        )

    def rect(self, at: Pair, width: float, height: float, style: str, radius: float = 0) -> None:
        sizes = (*at, max(0.0, width), max(0.0, height), radius)
        self.parts.append(
            Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}" rx="{}"/>').format(style, *map(_short, sizes))
        )

    def cross(self, at: Pair, radius: float, style: str) -> None:
        (x, y), r = at, radius
        self.line((x - r, y - r), (x + r, y + r), style)
        self.line((x - r, y + r), (x + r, y - r), style)

    def text(self, at: Pair, words: object, style: str = "", anchor: str = "start") -> None:
        x, y = map(_short, at)
        self.parts.append(
            Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(style, x, y, anchor, words)
        )

    def markup(self, style_sheet: str = "") -> Markup:
        """The SVG element; with a `style_sheet`, a standalone document."""
        size = (_short(self.width), _short(self.height))
        head = Markup('<svg xmlns="http://www.w3.org/2000/svg" class="chart" role="img" viewBox="0 0 {} {}"').format(
            *size
        )
        if style_sheet:
            sheet = Markup("<style>{}</style>").format(Markup(style_sheet))  # noqa: S704 - our own file
            head += Markup(' width="{}" height="{}">{}').format(*size, sheet)
        else:
            head += Markup(">")
        body = Markup("<title>{}</title>").format(self.title) + Markup("").join(self.parts)
        return head + body + Markup("</svg>")


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """About `about` round numbers between `low` and `high`."""
    if not high > low:
        return [low]
    step = nice_step((high - low) / about)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(n * step, 12) for n in range(first, last + 1)]


def nice_step(rough: float) -> float:
    """The smallest step of 1, 2 or 5 times a power of ten that is at least `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(nice * power for nice in (1, 2, 5, 10) if nice * power >= rough * (1 - 1e-9))


def spread_out(wanted: Iterable[float], gap: float, low: float, high: float) -> list[float]:
    """Positions near the `wanted` ones, in the same order, at least `gap` apart, between `low` and `high`."""
    placed: list[float] = []
    for position in wanted:
        placed.append(max(position, placed[-1] + gap if placed else low))
    limit = high
    for n in range(len(placed) - 1, -1, -1):
        placed[n] = min(placed[n], limit)
        limit = placed[n] - gap
    return placed


def thinned(points: Sequence[Pair], most: int) -> list[Pair]:
    """At most `most` of the points: the first, the last, and from each bucket between them the one that forms the
    largest triangle with its neighbors (Steinarsson 2013, largest triangle three buckets)."""
    if len(points) <= most or most < 3:
        return list(points)
    kept = [points[0]]
    size = (len(points) - 2) / (most - 2)
    edges = [1 + round(n * size) for n in range(most - 1)]
    for n in range(most - 2):
        bucket = points[edges[n] : edges[n + 1]]
        after = points[edges[n + 1] : edges[n + 2]] if n + 2 < most - 1 else points[-1:]
        ahead = (sum(x for x, _ in after) / len(after), sum(y for _, y in after) / len(after))
        kept.append(max(bucket, key=lambda point: _area(kept[-1], point, ahead)))
    return [*kept, points[-1]]


def text_width(words: str) -> float:
    """The approximate width in pixels; the reader's fonts are unknown."""
    return len(words) * _LABEL_WIDTH


def _area(a: Pair, b: Pair, c: Pair) -> float:
    return abs((a[0] - c[0]) * (b[1] - a[1]) - (a[0] - b[0]) * (c[1] - a[1]))


def _short(number: float) -> str:
    return f"{number:.1f}".rstrip("0").rstrip(".")
