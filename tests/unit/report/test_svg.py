"""The small parts of the pictures."""

from __future__ import annotations

import math
from xml.etree import ElementTree as ET

import pytest

from podium.report.svg import Drawing, Scale, nice_step, spread_out, thinned, ticks
from podium.report.units import HOURS, MINUTES, SECONDS, brief, digits, energy, unit_for

TICKS = {
    (0, 1): [0, 0.2, 0.4, 0.6, 0.8, 1],
    (0.13, 0.38): [0.15, 0.2, 0.25, 0.3, 0.35],
    (0, 93): [0, 20, 40, 60, 80],
    (-5, 5): [-4, -2, 0, 2, 4],
    (3, 3): [3],
}


@pytest.mark.parametrize(("span", "expected"), TICKS.items(), ids=map(str, TICKS))
def test_ticks(span, expected):
    assert ticks(*span) == expected


def test_nice_step():
    assert [nice_step(rough) for rough in (0.3, 1, 1.1, 4, 6, 70)] == [0.5, 1, 2, 5, 10, 100]


def test_scale():
    assert [Scale(0, 10, 100, 200)(value) for value in (0, 5, 10)] == [100, 150, 200]
    assert [Scale(1, 16, 0, 100, log=True)(value) for value in (1, 2, 4, 16)] == [0, 25, 50, 100]
    assert Scale(3, 3, 0, 100)(3) == 50


def test_labels_keep_their_distance_and_stay_inside():
    assert spread_out([10, 11, 12, 90], 15, 0, 100) == [10, 25, 40, 90]
    assert spread_out([95, 96, 97], 15, 0, 100) == [70, 85, 100]


def test_a_thinned_curve_keeps_its_ends_and_its_peak():
    curve = [(float(x), math.sin(x / 100)) for x in range(1000)]
    curve[500] = (500.0, 9.0)
    kept = thinned(curve, 50)
    assert len(kept) == 50
    assert (kept[0], kept[-1]) == (curve[0], curve[-1])
    assert (500.0, 9.0) in kept
    assert kept == sorted(kept)
    assert thinned(curve[:50], 50) == curve[:50]


def test_a_drawing_is_well_formed_whatever_it_says():
    drawing = Drawing(100, 50, "a <title> & more")
    drawing.text((1, 2.55), "</text><script>&\"'", "strong")
    root = ET.fromstring(drawing.markup("text { fill: red; }"))
    assert root[0].tag.endswith("style")
    assert root[1].text == "a <title> & more"
    assert (root[2].text, root[2].get("y")) == ("</text><script>&\"'", "2.5")


NUMBERS = {0: "0", 0.0751: "0.07510", 0.97: "0.9700", 9.5: "9.500", 93.456: "93.46", 1234.5: "1,234", 99.999: "100.0"}


@pytest.mark.parametrize(("value", "text"), NUMBERS.items())
def test_digits(value, text):
    assert digits(value) == text


def test_units():
    assert [unit_for(times) for times in ([5.0, 119], [5.0, 121], [200_000.0], [])] == [
        SECONDS,
        MINUTES,
        HOURS,
        SECONDS,
    ]
    assert [energy(joules) for joules in (None, 500, 7200, 3.6e6, 9e9)] == [
        "",
        "500.0 J",
        "2.000 Wh",
        "1.000 kWh",
        "2.500 MWh",
    ]
    assert [brief(seconds) for seconds in (None, 3.14159, 119, 600)] == ["", "3.14 s", "119 s", "10.0 min"]
