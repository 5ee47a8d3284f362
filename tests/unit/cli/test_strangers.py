"""The commands as a stranger meets them: nothing there, the wrong thing there, and what --help says."""

from __future__ import annotations

import json
from importlib.metadata import version

import pytest

from podium.cli.commands import load_commands
from tests.unit.cli.logs import v06_run, write
from tests.unit.cli.test_package import SYSTEM

READERS = ("score", "check", "report", "variance", "review", "history")


def places(command, place, tmp_path):
    """The words of `command` on `place`, with what else it needs."""
    (tmp_path / "box.json").write_text(json.dumps(SYSTEM))
    (tmp_path / "run.yaml").write_text(
        "apiVersion: podium.dev/v1alpha1\nkind: BenchmarkRun\nspec: {round: v0.6, benchmark: resnet, system: {name: a, nodes: 1}}\n"
    )
    more = {
        "compare": [place],
        "package": ["--system", tmp_path / "box.json", "--out", tmp_path / "package"],
        "borrow": ["--to", tmp_path / "run.yaml"],
    }
    return [command, place, *more.get(command, [])]


@pytest.mark.parametrize("command", [*READERS, "compare", "package", "borrow"])
def test_a_place_that_is_not_there(podium_text, tmp_path, command):
    code, said = podium_text(*places(command, tmp_path / "nowhere", tmp_path))
    assert (code, "nowhere: no such file or folder" in said) == (2, True), said


@pytest.mark.parametrize("command", ["score", "check", "report", "variance", "review", "compare", "package", "borrow"])
def test_an_empty_folder(podium_text, tmp_path, command):
    (tmp_path / "empty").mkdir()
    code, said = podium_text(*places(command, tmp_path / "empty", tmp_path))
    assert (code, "no result_<number>.txt found" in said) == (2, True), said


def test_a_store_without_results_has_an_empty_history(podium_text, podium_json, tmp_path):
    assert podium_text("history", tmp_path) == (0, "no results\n")
    assert podium_json("history", tmp_path) == (0, {"results": [], "findings": []})


@pytest.mark.parametrize(
    "command", ["score", "report", "variance", "review", "history", "compare", "package", "borrow"]
)
def test_a_file_in_place_of_a_folder(podium_text, tmp_path, command):
    file = tmp_path / "notes.md"
    file.write_text("hello\n")
    code, said = podium_text(*places(command, file, tmp_path))
    assert (code, f"{file} is a file: name the folder that contains results" in said) == (2, True), said


def test_a_file_that_is_no_log(podium_json, tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("hello\n")
    code, (log,) = podium_json("check", file)
    assert (code, [f["rule"] for f in log["findings"]]) == (1, ["log.empty"])
    assert log["findings"][0]["message"] == "no line can be read as an MLPerf line"


def test_a_system_without_a_submitter(podium_text, tmp_path):
    write(tmp_path / "results/resnet", [v06_run("resnet", 60, 0.76)])
    system = tmp_path / "box.json"
    system.write_text(json.dumps({"system_name": "box"}))
    code, said = podium_text("package", tmp_path / "results", "--system", system, "--out", tmp_path / "package")
    assert (code, said) == (2, f"{system} does not name a submitter: add it there, or use --org")


def test_every_missing_field_of_a_system_is_named(podium_json, tmp_path):
    write(tmp_path / "results/resnet", [v06_run("resnet", 60, 0.76)])
    system = tmp_path / "box.json"
    system.write_text(json.dumps({k: v for k, v in SYSTEM.items() if k not in ("cooling", "framework")}))
    code, document = podium_json("package", tmp_path / "results", "--system", system, "--out", tmp_path / "package")
    missing = [
        (f["where"], f["message"], f["remedy"]) for f in document["findings"] if f["rule"] == "package.system.missing"
    ]
    assert (code, missing) == (
        1,
        [
            ("box.json", "cooling is missing", 'air or liquid, or ""'),
            ("box.json", "framework is missing", 'text, such as "PyTorch 2.8"'),
        ],
    )


def commands(group=None, prefix=()):
    for name, command in (group.commands if group else load_commands()).items():
        yield from commands(command, (*prefix, name)) if hasattr(command, "commands") else [((*prefix, name), command)]


def test_every_command_that_reads_results_takes_json():
    without = {
        " ".join(name) for name, command in commands() if "--json" not in {o for p in command.params for o in p.opts}
    }
    assert without == {"run", "operator", "stage", "keygen", "replay"}


def test_help_names_the_exit_codes_and_fits_80_columns(podium_text):
    _, said = podium_text("--help")
    assert "0 on success, 1 with findings" in " ".join(said.split())
    for name, _ in commands():
        code, said = podium_text(*name, "--help")
        assert (code, max(map(len, said.splitlines())) <= 80) == (0, True), said


def test_the_version(podium_text):
    assert podium_text("--version") == (0, f"podium {version('podium-operator')}\n")
