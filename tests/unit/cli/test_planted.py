"""Links, pipes and names that somebody has put where a command writes: nothing outside is read, written or removed."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime

import pytest
import yaml

from podium.cli.errors import UsageError
from podium.cli.run import set_aside
from tests.unit.cli.logs import v06_log, write
from tests.unit.cli.test_malicious_packages import package, v07_log

NOW = datetime(2026, 3, 1, 12, 30, 5, tzinfo=UTC)


def results(folder):
    """Write the logs of five good runs."""
    write(folder / "v0.7/acme/box/resnet", [v07_log(t) for t in (60, 70, 80, 90, 100)])


@pytest.fixture
def elsewhere(tmp_path):
    """A folder of the user's with a file in it."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "thesis").write_text("mine")
    yield folder
    assert [path.name for path in folder.iterdir()] == ["thesis"]
    assert (folder / "thesis").read_text() == "mine"


def test_a_package_is_not_written_through_a_link(podium_json, tmp_path, elsewhere):
    (tmp_path / "package.partial").symlink_to(elsewhere)
    results(tmp_path)
    code, _ = package(podium_json, tmp_path, "--code", tmp_path / "code")
    assert (code, (tmp_path / "package").is_symlink()) == (0, False)
    assert (tmp_path / "package/acme/systems/box.json").is_file()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_folder_beside_the_package_stays(podium_json, tmp_path, elsewhere):
    beside = elsewhere.rename(tmp_path / "package.partial")
    results(tmp_path)
    assert package(podium_json, tmp_path, "--code", tmp_path / "code")[0] == 0
    beside.rename(elsewhere)


@pytest.mark.parametrize("target", ["elsewhere", "nowhere"])
def test_the_folder_of_a_package_is_no_link(podium_json, tmp_path, elsewhere, target):
    (tmp_path / "package").symlink_to(tmp_path / target)
    results(tmp_path)
    code, said = package(podium_json, tmp_path, "--code", tmp_path / "code")
    assert (code, said) == (2, f"--out {tmp_path / 'package'} is a symbolic link: name the folder itself")
    assert elsewhere.is_dir()


def test_a_package_replaces_an_empty_folder(podium_json, tmp_path):
    (tmp_path / "package").mkdir()
    results(tmp_path)
    assert package(podium_json, tmp_path, "--code", tmp_path / "code")[0] == 0
    assert (tmp_path / "package/acme/systems/box.json").is_file()


@pytest.mark.parametrize("plant", ["link", "pipe"])
def test_a_report_replaces_what_is_planted_under_its_name(podium_text, tmp_path, elsewhere, monkeypatch, plant):
    """People unpack a package, enter it and call ``podium report .``"""
    write(tmp_path / "package/transformer", [v06_log()])
    monkeypatch.chdir(tmp_path / "package")
    page = tmp_path / "package/report.html"
    if plant == "link":
        page.symlink_to(elsewhere / "thesis")
    else:
        os.mkfifo(page)
    code, _ = podium_text("report", ".")
    assert (code, page.is_symlink(), page.read_text()[:15]) == (1, False, "<!doctype html>")
    assert sorted(path.name for path in page.parent.iterdir()) == ["report.html", "transformer"]
    assert page.stat().st_mode & 0o777 == 0o644


def test_a_borrowing_run_is_not_written_through_a_link_to_nowhere(podium_text, tmp_path, elsewhere):
    write(tmp_path / "transformer", [v06_log()])
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run("mine")))
    (tmp_path / "new.yaml").symlink_to(elsewhere / "new.yaml")
    words = ("borrow", tmp_path / "transformer", "--to", tmp_path / "run.yaml", "--out", tmp_path / "new.yaml")
    assert podium_text(*words) == (2, f"--out {tmp_path / 'new.yaml'} already exists: choose another file")


def run(name):
    spec = {"round": "v0.6", "benchmark": "transformer", "division": "open", "attempts": 1}
    template = {"command": ["sh", "-c", "true"]}
    system = {"name": "laptop", "nodes": 1}
    return {
        "apiVersion": "podium.dev/v1alpha1",
        "kind": "BenchmarkRun",
        "metadata": {"name": name},
        "spec": {**spec, "system": system, "template": template},
    }


@pytest.mark.parametrize("name", ["../../outside", "/tmp/outside", "..", "a/b", "a\nb", "-rf", "x" * 300, "a\0b"])
def test_a_run_does_not_choose_a_place_by_its_name(podium_text, tmp_path, monkeypatch, name):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    (tmp_path / "run.yaml").write_text(json.dumps(run(name)))
    code, said = podium_text("run", "--local", tmp_path / "run.yaml")
    assert (code, "cannot name the result's folder" in said) == (2, True), said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.yaml", "work"]
    assert not list((tmp_path / "work").iterdir())


@pytest.mark.parametrize("plant", ["pipe", "link", "deep", "sparse", "text"])
def test_a_planted_result_is_refused_at_once(tmp_path, plant):
    folder = tmp_path / "r"
    folder.mkdir()
    result = folder / "result.json"
    if plant == "pipe":
        os.mkfifo(result)
    elif plant == "link":
        (tmp_path / "other.json").write_text('{"outcome": "Aborted"}')
        result.symlink_to(tmp_path / "other.json")
    elif plant == "sparse":
        with result.open("wb") as file:
            file.truncate(1 << 40)
    else:
        result.write_text("[" * 100_000 if plant == "deep" else '"Aborted"')
    with pytest.raises(UsageError, match="choose another folder with --out"):
        set_aside(folder, NOW)
    assert folder.is_dir()
