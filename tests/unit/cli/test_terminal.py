"""Names and logs of others on a terminal, in a page, a picture and a spreadsheet: shown, never obeyed."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
from rich.text import Text
from typer.testing import CliRunner

from podium.api import BenchmarkRunStatus
from podium.cli.main import app
from podium.cli.output import console, print_findings, table
from podium.cli.watch.screen import screen
from podium.reconcile import read_run
from podium.rules import Finding
from tests.unit.cli.conftest import AT_A_TERMINAL, assert_harmless
from tests.unit.cli.logs import changed, v06_log, write
from tests.unit.cli.test_package import SYSTEM

HOSTILE = {
    "a tag that closes nothing": "[/nothing]",
    "a tag": "[bold red]x[/]",
    "a link": "[link=http://example.com]x[/link]",
    "an emoji's name": ":boom:",
    "a title": "\x1b]0;owned\x07",
    "a cleared screen": "\x1b[2J\x1b[H",
    "an escape in one character": "\x9b2J",
    "a line drawn over": "bad\rgood",
    "a turned direction": "tin\u202exe.exe",
    "no width": "ac\u200bme\ufeff",
    "a forged line": "x\n9 logs (9 of v0.6 transformer): no findings",
    "a separator": "x\u2028y",
}


def in_a_log(folder, text):
    line = json.dumps(text)[1:-1]
    logs = [changed(v06_log(), '"ACME"', f'"{line}"') for _ in range(2)]
    return write(folder / "results/transformer", logs)


def in_a_name(folder, text):
    return write(folder / "v0.6" / text.replace("/", "_") / f"box{text.replace('/', '_')}" / "transformer", [v06_log()])


def in_a_result(folder, text):
    results = write(folder / "results/transformer", [v06_log()])
    document = {"podium": text, "round": "v0.6", "benchmark": text, "division": text, "outcome": text, "message": text,
                "run": {"name": text, "namespace": text}, "system": {"name": text, "accelerator": text},
                "score": {"valid": True}, "attempts": [{"index": 0, "startTime": text}]}  # fmt: skip
    (results / "result.json").write_text(json.dumps(document))
    (results / "SHA256SUMS").write_text(f"{text}  {text}\n")
    return results


@pytest.fixture
def commands(tmp_path):
    """Every command that reads what others made, with its words."""
    (tmp_path / "box.json").write_text(json.dumps(SYSTEM))
    (tmp_path / "run.yaml").write_text(
        "apiVersion: podium.dev/v1alpha1\nkind: BenchmarkRun\nspec: {round: v0.6, benchmark: transformer, system: {name: a, nodes: 1}}\n"
    )
    package = ["--system", str(tmp_path / "box.json"), "--out", str(tmp_path / "package")]
    more = {"compare": [None], "package": package, "borrow": ["--to", str(tmp_path / "run.yaml")],
            "report": ["--out", str(tmp_path / "report.html")]}  # fmt: skip

    def run(place):
        for command in ("score", "check", "report", "variance", "review", "history", "compare", "package", "borrow"):
            yield (
                command,
                [command, str(place), *(str(place) if word is None else word for word in more.get(command, ()))],
            )

    return run


@pytest.mark.parametrize("place", [in_a_log, in_a_name, in_a_result])
@pytest.mark.parametrize("text", ["[/nothing]", " ".join(HOSTILE.values())], ids=["a tag", "all of them"])
def test_every_command_shows_it_and_goes_on(commands, tmp_path, place, text):
    place(tmp_path / "x", text)
    for command, words in commands(tmp_path / "x"):
        for options, terminal in ((["--json"], False), ([], False), ([], True)):
            environment = AT_A_TERMINAL if terminal else {"COLUMNS": "200"}
            done = CliRunner().invoke(app, [*words, *options], env=environment)
            assert isinstance(done.exception, SystemExit | None) or str(done.exception), command
            assert not done.exception or type(done.exception).__name__ in ("SystemExit", "UsageError"), (
                command,
                done.exception,
            )
            assert_harmless(done.output, styled=terminal)
            assert "\n9 logs" not in done.output
    if (tmp_path / "report.html").exists():
        assert_harmless((tmp_path / "report.html").read_text())


def test_markup_of_a_log_is_text(tmp_path, podium_text):
    in_a_log(tmp_path, "[/nothing]")
    code, said = podium_text("score", tmp_path)
    assert (code, said.splitlines()[0].rstrip()) == (1, "v0.6  [/nothing]")


def test_a_run_yaml_with_hostile_names(tmp_path, podium_text):
    file = tmp_path / "run.yaml"
    file.write_text(
        'apiVersion: podium.dev/v1alpha1\nkind: BenchmarkRun\nmetadata: {name: "[/x]\\e]0;t\\a"}\nspec: {"\\e[2J": 1}\n'
    )
    code, said = podium_text("validate", file)
    assert code == 1
    assert_harmless(said)


def test_errors_of_the_command_line_are_harmless_too(tmp_path, capsys, monkeypatch):
    from podium.cli.main import main

    monkeypatch.setattr("sys.argv", ["podium", "score", f"{tmp_path}/\x1b]0;owned\x07[/nothing]"])
    with pytest.raises(SystemExit):
        main()
    said = capsys.readouterr().err
    assert "�]0;owned�[/nothing]: no such file or folder" in said
    assert_harmless(said)


def test_no_cell_of_the_history_is_a_formula(tmp_path):
    in_a_result(tmp_path, '=HYPERLINK("http://example.com")')
    done = CliRunner().invoke(app, ["history", str(tmp_path), "--csv"])
    (row,) = csv.DictReader(io.StringIO(done.stdout))
    assert row["name"] == '\'=HYPERLINK("http://example.com")'
    assert not any(value.startswith(("=", "+", "-", "@", "\t", "\r")) for value in row.values())


def test_the_console_prints_what_it_is_given():
    out = console()
    with out.capture() as captured:
        made = table("[red]System", title="[/x]\x1b[2J")
        made.add_row("a\x07\nb")
        out.print(made)
        out.print(Text("styled\x1b]0;t\x07", style="bold"))
        print_findings(out, [Finding("[rule]", "place\x1b", "[/message]\nforged", remedy="\u202e[x]")])
    assert [line.rstrip() for line in captured.get().split("\n")] == [
        "[/x]�[2J",
        "[red]System",
        "a� b",
        "styled�]0;t",  # rich takes the bell out
        "[rule]  place�: [/message] forged",
        "    �[x]",
        "",
    ]


def test_a_message_forges_no_line_of_the_screen():
    """A condition holds the last output of whatever ran."""
    words = "x\r\nforged"
    time = "2026-01-01T00:00:00Z"
    conditions = [
        {"type": kind, "status": status, "reason": "Training", "message": words, "lastTransitionTime": time}
        for kind, status in (("Running", "False"), ("Failed", "False"))
    ]
    attempt = {"index": 1, "try": 0, "state": "Training", "seed": 1, "job": "a", "createdTime": time, "quality": words}
    progress = {"attempt": "1/2", "epoch": words, "quality": words, "target": words, "throughput": words}
    spec = {"round": "v0.6", "benchmark": "resnet", "division": "open", "system": {"name": "a", "nodes": 1}}
    metadata = {"namespace": "lab", "name": "a", "uid": "u", "generation": 1}
    status = {"conditions": conditions, "attempts": [attempt], "progress": progress}
    run = read_run({"metadata": metadata, "spec": spec, "status": status})
    out = console()
    with out.capture() as captured:
        out.print(screen(run, [words], 0.0, outage=words))
        out.print(screen(replace(run, name=words, status=BenchmarkRunStatus()), [], 0.0))
    lines = captured.get().splitlines()
    assert not [line for line in lines if line.startswith("forged")], lines
    assert any("x forged" in line for line in lines)
