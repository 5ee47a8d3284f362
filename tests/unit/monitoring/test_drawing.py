"""The pictures of the dashboards show what the JSON says: thresholds, units, colors, stacking."""

from __future__ import annotations

import copy
import re

import pytest
from helm.dashboards import DASHBOARDS
from helm.dashboards.drawing import COLORS, Series, draw, shown
from helm.dashboards.reading import panels

WINDOW, SIZE = (1000.0, 1100.0), (600, 212)
ALL = [(name, panel) for name in DASHBOARDS for panel in panels(name) if panel["type"] != "row"]


def the(name, title):
    return copy.deepcopy(next(p for p in panels(name) if p["title"] == title and p["type"] != "row"))


def line(*values, name="a", labels=None, letter="A"):
    points = [(1000.0 + 100 * n / (len(values) - 1), value) for n, value in enumerate(values)]
    return Series(name, points, labels or {}, letter)


def thresholds(panel, *values):
    drawn = draw(panel, [line(*values)], WINDOW, SIZE)
    return [
        (float(y), color) for y, color in re.findall(r'<line class="threshold".*? y1="(.*?)".*? stroke="(.*?)"', drawn)
    ]


@pytest.mark.parametrize(("name", "panel"), ALL, ids=[f"{name}: {panel['title']}" for name, panel in ALL])
def test_every_panel_can_be_drawn(name, panel):
    labels = {"namespace": "lab", "run": "digits"}
    drawn = draw(panel, [line(1.5, 2.5, labels=labels), line(0.5, 3.5, name="b", labels=labels)], WINDOW, SIZE)
    unit = panel["fieldConfig"]["defaults"].get("unit")
    if unit and panel["options"].get("textMode") != "name":
        assert shown(2.5, unit).lstrip("0123456789.") in drawn


def test_a_threshold_is_drawn_where_the_json_has_it():
    panel = the("run", "Time since last log line")  # its axis goes to 2000 s and is 186 pixels high, from 8 to 194
    assert thresholds(panel, 0, 2000) == [(pytest.approx(194 - 1800 / 2000 * 186, abs=0.1), COLORS["red"])]
    panel["fieldConfig"]["defaults"]["thresholds"]["steps"][1] = {"value": 1000, "color": "orange"}
    assert thresholds(panel, 0, 2000) == [(pytest.approx(194 - 1000 / 2000 * 186, abs=0.1), COLORS["orange"])]
    assert thresholds(panel, 0, 900) == [(8, COLORS["orange"])], "the axis ends at 1000 s"
    assert thresholds(panel, 0, 100) == [], "a threshold does not stretch the axis"
    panel["fieldConfig"]["defaults"]["custom"]["thresholdsStyle"]["mode"] = "off"
    assert thresholds(panel, 0, 2000) == []


def test_bars_and_numbers_have_the_color_of_their_level():
    bars = the("run", "Time to train per attempt")
    assert f'fill="{COLORS["green"]}"' in draw(bars, [line(90, 90)], WINDOW, SIZE)
    bars["fieldConfig"]["defaults"]["thresholds"]["steps"].append({"value": 80, "color": "red"})
    assert f'fill="{COLORS["red"]}"' in draw(bars, [line(90, 90)], WINDOW, SIZE)
    leaders = the("operator", "Leaders")
    assert [re.findall("color:(#[0-9a-f]+)", draw(leaders, [line(n, n)], WINDOW, SIZE)) for n in (0, 1, 2)] == [
        [COLORS["red"]], [COLORS["green"]], [COLORS["red"]]]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "unit", "decimals", "text"),
    [
        (9.917, "s", None, "9.92 s"), (90, "s", None, "1.5 mins"), (7200, "s", None, "2 hours"), (0.25, "s", None, "250 ms"),
        (0.25, "percentunit", 0, "25%"), (97.3, "percent", None, "97.3%"), (12.6, "none", 2, "12.60"), (2500, "none", None, "2500"),
        (164 * 2**20, "bytes", None, "164 MiB"), (4200, "joule", None, "4.2 kJ"), (700, "watt", None, "700 W"), (0, "s", None, "0 s"),
        (12, "ops", None, "12 ops/s"), (12, "reqps", None, "12 req/s"),
    ],
)  # fmt: skip
def test_units(value, unit, decimals, text):
    assert shown(value, unit, decimals) == text


def test_the_axis_has_the_unit_of_the_json():
    panel = the("run", "Progress")
    assert ">50%</text>" in draw(panel, [line(0, 0.5)], WINDOW, SIZE)
    panel["fieldConfig"]["defaults"]["unit"] = "s"
    assert ">500 ms</text>" in draw(panel, [line(0, 0.5)], WINDOW, SIZE)


def test_areas_are_stacked_as_the_json_says():
    panel = the("run", "Attempt time by phase")
    series = [line(10, 10, name="init"), line(10, 10, name="train")]
    stacked = draw(panel, series, WINDOW, SIZE)
    assert re.findall(r'fill="(#[0-9a-f]+)" fill-opacity="(.*?)"', stacked) == [
        (COLORS["yellow"], "0.6"), (COLORS["blue"], "0.6")]  # fmt: skip
    tops = re.findall(r'<polyline points="[\d.]+,([\d.]+) ', stacked)
    assert tops == ["101.0", "8.0"], "the second one stands on the first"
    panel["fieldConfig"]["defaults"]["custom"] |= {"fillOpacity": 20, "lineWidth": 3, "stacking": {"mode": "none"}}
    assert re.findall('fill-opacity="(.*?)"|stroke-width="(.*?)"', draw(panel, series, WINDOW, SIZE)) == [
        ("0.2", ""), ("", "3"), ("0.2", ""), ("", "3")]  # fmt: skip
    assert re.findall(r'<polyline points="[\d.]+,([\d.]+) ', draw(panel, series, WINDOW, SIZE)) == ["8.0", "8.0"]


def test_the_target_is_dashed_and_gray():
    drawn = draw(the("run", "Quality against target"), [line(0.1, 0.9, name="top1"), line(0.9, 0.9, name="target top1")], WINDOW, SIZE)  # fmt: skip
    assert f'stroke="{COLORS["text"]}" stroke-width="2" stroke-dasharray="8 8"' in drawn
    assert drawn.count("stroke-dasharray") == 1


def test_a_table_has_the_units_of_its_columns():
    labels = {"namespace": "lab", "run": "digits"}
    series = [line(0.25, 0.25, labels=labels, letter="C"), line(90, 90, labels=labels, letter="D")]
    drawn = draw(the("fleet", "Runs"), series, WINDOW, SIZE)
    assert "<td>25%</td><td>1.5 mins</td>" in drawn


def test_what_cannot_be_drawn_is_refused():
    panel = the("run", "Throughput")
    panel["fieldConfig"]["defaults"]["custom"]["fillBelowTo"] = "p50"
    with pytest.raises(ValueError, match=r"panel 'Throughput': cannot draw custom\.fillBelowTo"):
        draw(panel, [line(1, 2)], WINDOW, SIZE)
    panel = the("run", "Throughput")
    panel["fieldConfig"]["defaults"]["unit"] = "furlong"
    with pytest.raises(ValueError, match="unit 'furlong' is not known"):
        draw(panel, [line(1, 2)], WINDOW, SIZE)
    panel = the("run", "Attempts by state")
    panel["fieldConfig"]["overrides"][0]["properties"].append({"id": "custom.fillBelowTo", "value": "x"})
    with pytest.raises(ValueError, match=r"cannot draw custom\.fillBelowTo"):
        draw(panel, [line(1, 2)], WINDOW, SIZE)


def test_a_number_has_its_decimals_and_the_name_of_its_series():
    assert "<small>USD</small> 12.60</div>" in draw(the("run", "Cost"), [line(12.6, 12.6, name="USD")], WINDOW, SIZE)
    assert draw(the("run", "Time remaining"), [], WINDOW, SIZE) == '<div class="big">-</div>'
