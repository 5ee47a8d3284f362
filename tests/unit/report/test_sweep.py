"""The page of a sweep: what it says of sweeps that the operator's code has decided, and of what others write."""

from __future__ import annotations

import copy
import json
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podium.report import outcome, read_sweep_report, sweep_page
from podium.report.sweep import details
from podium.text import printable
from tests.unit.cli.test_report import HOSTILE, Words
from tests.unit.reconcile.test_sweep import World, node, sweep
from tests.unit.report.sweeps import fleet, scaling, stored, variants

SLOW = {"gpu-007": 0.95, "gpu-040": 0.93}
FLEET = fleet(64, SLOW, failed=2)


class Table(HTMLParser):
    """The cells of the last table of a page, row by row, without its heading."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._cell = False

    def handle_starttag(self, tag, _):
        self._cell = self._cell or tag == "td"
        if tag == "table":
            self.rows = []
        elif tag == "tr":
            self.rows.append([])
        elif tag == "td":
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self._cell = self._cell and tag != "td"

    def handle_data(self, data):
        if self._cell:
            self.rows[-1][-1] = f"{self.rows[-1][-1]} {data.strip()}".strip()


def page_of(content):
    return sweep_page(read_sweep_report(content, "sweep.json"))


def words_of(content):
    found = Words()
    found.feed(page_of(content))
    return found


def table_of(content):
    found = Table()
    found.feed(page_of(content))
    return [row for row in found.rows if row]


def changed(content, change):
    document = json.loads(content)
    change(document)
    return json.dumps(document).encode()


def messages(content):
    return [(found.field, found.message) for found in read_sweep_report(content, "sweep.json").findings]


# ---- what it says ----


def test_the_outliers_of_a_fleet_are_named_and_come_first():
    report = read_sweep_report(FLEET, "sweep.json")
    assert outcome(report) == "2 of 64 nodes are slow; 2 failed"
    assert details(report)[0].startswith("Slow: gpu-040 (7.")
    assert details(report)[1] == "Failed: gpu-063, gpu-064."
    rows = table_of(FLEET)
    assert [row[:2] for row in rows[:5]] == [
        ["gpu-063", "Failed"],
        ["gpu-064", "Failed"],
        ["gpu-040", "Slow"],
        ["gpu-007", "Slow"],
        [rows[4][0], "OK"],
    ]
    assert len(rows) == 64
    assert {row[-1] for row in rows[4:]} == {""}, "what is OK needs no reason"
    assert rows[0][2:] == ["", "", "", "0", "node gpu-063 is cordoned"]
    stored_row = next(row for row in report.document.rows if row.name == "gpu-040")
    _, _, deviation, interval, rate, runs, reason = rows[2]
    assert (float(rate.replace(",", "")), runs) == (pytest.approx(float(stored_row.rate), rel=1e-3), "2")
    assert deviation == f"{100 * float(stored_row.deviation):+.1f} %"
    assert interval == " to ".join(f"{100 * float(end):+.1f}" for end in stored_row.interval)
    assert reason == f"{stored_row.reason} {' '.join(stored_row.runs)}"
    words = words_of(FLEET).words
    for said in ("60 of 64", "median", "3.0 % slower", "samples/s, median", "v0.6 resnet open tiny", "pool=gpu"):
        assert said in words, said


def test_the_histogram_counts_each_row_that_has_a_rate():
    page = page_of(FLEET)
    assert page.count('class="bin slow"') == 2
    drawn = read_sweep_report(FLEET, "sweep.json")
    assert "failed, with a rate" not in page
    assert f"histogram of the rates of {sum(row.rate is not None for row in drawn.rows)} rows" in page


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (fleet(64), "All 64 nodes are OK: none is more than 3.0 % slower than its peers"),
        (fleet(16, noise=0.02), "None of 16 nodes is surely slow; 7 are unsure"),
        (fleet(3, failed=3), "3 of 3 nodes failed"),
        (fleet(20, failed=1), "1 of 20 nodes failed; none of the others is slow"),
        (fleet(1), "Not known: no row is surely fast or slow"),
        (
            fleet(64, nodes={"selector": {"pool": "gpu"}, "groupSize": 4}),
            "All 16 groups of 4 nodes are OK: none is more than 3.0 % slower than its peers",
        ),
        (scaling(), "Efficiency is above 80 % up to 16 nodes, the largest count"),
        (variants({"a": 2450, "b": 2450, "c": 2000}), "1 of 3 variants is slow"),
    ],
)
def test_the_outcome_is_a_sentence(content, said):
    assert outcome(read_sweep_report(content, "sweep.json")) == said
    assert said in words_of(content).words
    assert not messages(content)


def test_a_curve_has_its_knee_and_its_efficiencies_in_the_order_of_node_counts():
    content = scaling(lost=0.12)
    report = read_sweep_report(content, "sweep.json")
    assert outcome(report).startswith(f"Efficiency is above 80 % up to {report.curve.knee} nodes; at ")
    words = words_of(content).words
    assert "knee" in words
    assert f"{report.curve.knee}" in words
    rows = table_of(content)
    assert [row[0] for row in rows] == ["1 node", "2 nodes", "4 nodes", "8 nodes", "16 nodes"]
    assert (rows[0][2], rows[-1][1]) == ("100.0 %", "Slow")
    for row, point in zip(rows, report.curve.points, strict=True):
        assert row[2] == f"{100 * point.efficiency:.1f} %"


def test_each_pair_of_variants_has_an_answer_as_podium_compare_gives_it():
    content = variants({"driver-550": 2450, "driver-570": 2300})
    report = read_sweep_report(content, "sweep.json")
    assert outcome(report).startswith("driver-570, compared with driver-550: slower by 6.")
    three = read_sweep_report(variants({"a": 2450, "b": 2450, "c": 2000}), "sweep.json")
    assert [(pair.before, pair.after) for pair in three.pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert three.pairs[0].sentence.startswith("no difference larger than ")
    assert three.pairs[2].sentence.startswith("slower by 2")
    many = read_sweep_report(variants({f"v{number}": 2450 for number in range(9)}), "sweep.json")
    assert [pair.before for pair in many.pairs] == ["v0"] * 8


def test_a_fleet_whose_majority_is_slow_is_reported_as_split():
    most = fleet(32, {f"gpu-{index:03}": 0.95 for index in range(1, 21)})
    assert any(said.startswith("The fleet is split in two: 20 are 5.") for said in details(read_sweep_report(most, "")))
    assert not any("split" in said for said in details(read_sweep_report(FLEET, "")))


def test_rows_without_rates_have_a_page_without_pictures():
    content = stored(World(sweep(), [node("a"), node("b")], lambda row: None))
    assert "svg" not in words_of(content).tags
    assert [row[1] for row in table_of(content)] == ["Failed", "Failed"]
    assert "AttemptFailed: attempt 1 failed: DeviceError: no GPU" in table_of(content)[0][-1]


def test_the_same_file_gives_the_same_bytes():
    assert page_of(FLEET) == page_of(FLEET)
    assert fleet(64, SLOW, failed=2) == FLEET


# ---- what contradicts itself ----


def test_a_verdict_that_the_rates_do_not_give_is_found():
    def whitewash(document):
        row = next(row for row in document["rows"] if row["name"] == "gpu-040")
        row["verdict"] = "Ok"
        document["counts"] |= {"ok": 61, "slow": 1}

    assert messages(changed(FLEET, whitewash)) == [
        ("sweep.json, row gpu-040", "it says Ok, but the rates of its runs give Slow")
    ]
    assert "report.sweep" in words_of(changed(FLEET, whitewash)).words


def test_a_rate_or_a_count_that_is_not_that_of_the_runs_is_found():
    def polish(document):
        document["rows"][0]["rate"] = "3000"
        document["counts"]["slow"] = 0

    found = dict(messages(changed(FLEET, polish)))
    assert found["sweep.json"] == "its counts are not those of its rows"
    assert found["sweep.json, row gpu-001"].startswith("it says the rate 3000, but its runs have 24")


def test_a_row_that_hides_the_failure_of_its_run_is_found():
    def hide(document):
        document["runs"][0]["failure"] = "AttemptFailed"

    assert messages(changed(FLEET, hide)) == [("sweep.json, row gpu-001", "it says Ok, but a run of it failed")]


# ---- what others write ----


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": "x"}, "schema is x, not podium.dev/sweep/v1"),
        ({"spec": {"over": "nodes"}}, "spec.template: Field required"),
        ({"rows": [{"name": "a"}, {"name": "a"}]}, "rows: 1 names are not unique"),
        ({"rows": [{"name": "a", "verdict": "Great"}]}, "rows.0.verdict: Input should be"),
    ],
)
def test_what_is_not_the_result_of_a_sweep_is_refused_with_the_reason(change, said):
    with pytest.raises(ValueError, match=r"sweep\.json is not the result of a sweep") as error:
        page_of(changed(FLEET, lambda document: document.update(change)))
    assert said in str(error.value)


def test_a_tolerance_of_everything_is_refused():
    with pytest.raises(ValueError, match=r"spec\.verdict\.tolerance: it is not a ratio below 1"):
        page_of(changed(FLEET, lambda document: document["spec"].update(verdict={"tolerance": "7"})))


def spoil(value, text):
    """`value` with `text` in the place of each string that may be any."""
    if isinstance(value, dict):
        kept = ("schema", "over", "verdict", "rate", "deviation", "interval", "result")
        return {key: value[key] if key in kept else spoil(value[key], text) for key in value}
    if isinstance(value, list):
        return [spoil(each, text) for each in value]
    return text if isinstance(value, str) else value


def test_nothing_of_a_document_is_taken_for_markup():
    text = HOSTILE.replace("\ud800", "")  # no document holds half a character
    hostile = spoil(json.loads(fleet(2, noise=0.0)), text)
    for number, row in enumerate(hostile["rows"]):
        row |= {
            "name": f"{text}{number}",
            "reason": text,
            "verdict": "Unsure",
            "nodes": [text, text],
            "runs": [text[:63]],
        }
    hostile["spec"]["template"] = {**dict.fromkeys(("round", "benchmark", "measure"), text), "system": {"name": text}}
    hostile["spec"]["nodes"] = {"selector": {"pool": "gpu"}}
    page = page_of(json.dumps(hostile).encode())
    found = Words()
    found.feed(printable(page))
    assert not {"script", "img"} & found.tags
    assert not {name for name in found.attributes if name.startswith("on") or name == "src"}
    assert any("<script>alert(1)</script>" in words for words in found.words)
    assert not any("49" in words and "alert" in words for words in found.words)


def test_numbers_that_are_none_or_out_of_this_world_are_left_out():
    def spoilt(document):
        odd = ["nan", "1e99", "-5", "0x10", "1" * 32, "\u0663", ""]
        for row, text in zip(document["rows"], odd, strict=False):
            row |= {"rate": text, "deviation": text, "interval": [text, text]}
        document["runs"][0]["rates"] = [0.0, -1.0, 1e300, 5e-324]

    content = changed(FLEET, spoilt)
    assert len(table_of(content)) == 64
    assert "gpu-001" in {field.removeprefix("sweep.json, row ") for field, _ in messages(content)}


def test_a_page_of_the_largest_document_is_of_bounded_size():
    def row(number):
        return {"name": f"{number:0300}", "nodes": ["n" * 253] * 16, "runs": ["r" * 63] * 20, "verdict": "Unsure",
                "rate": "1", "reason": "x" * 1024}  # fmt: skip

    def swell(document):
        document["rows"] = [row(number) for number in range(1, 2001)]
        document["message"] = "m" * 10**6
        document["spec"]["template"]["system"] = {"name": "s" * 10**6}

    content = changed(FLEET, swell)
    assert len(content) > 10**7
    assert len(page_of(content)) < 4 * 10**6


def leaves(value, path=()):
    if isinstance(value, dict | list) and value:
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(each, (*path, key))
    yield path


ODD = st.sampled_from([None, True, -1, 0, 10**40, 1e300, 5e-324, "", "nan", "1e9", "2 nodes", "x" * 200, [], {}])
DOCUMENTS = [fleet(6, {"gpu-002": 0.8}, failed=1), scaling((1, 2)), variants({"a": 2450, "b": 2400})]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_document_gives_a_page_or_a_sentence(data):
    document = json.loads(data.draw(st.sampled_from(DOCUMENTS)))
    for _ in range(data.draw(st.integers(1, 4))):
        *path, last = data.draw(st.sampled_from([path for path in leaves(document) if path]))
        place = document
        for key in path:
            place = place[key]
        place[last] = copy.copy(data.draw(ODD))
    content = json.dumps(document).encode()
    refusal, report = "", None
    try:
        report = read_sweep_report(content, "sweep.json")
    except ValueError as error:
        refusal = str(error)
    assert refusal.startswith("sweep.json ") or sweep_page(report).endswith("</html>")
    assert refusal or outcome(report)
