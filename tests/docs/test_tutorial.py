"""Commands of the documentation do what it says: those for a laptop are run as they stand, the others are read closely.

The tutorial for a cluster is run by tests/e2e/test_tutorial.py, its files and kubectl commands also by tests/api.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from itertools import pairwise

import pytest
import yaml
from typer.main import get_command

from podium.cli.commands import load_commands
from podium.cli.main import app
from tests.cluster.charts import CHART, helm
from tests.cluster.fixtures import ROOT, needed_parts
from tests.docs.blocks import DOCS, blocks, commands

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
LAPTOP, CLOUD = DOCS / "tutorial/laptop.md", DOCS / "tutorial/gpu-cloud.md"
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
# An exit code that is not 0, and why
EXPECTED = {
    "podium report results/ncf-tiny --out results/ncf-tiny.html": 1,  # three attempts instead of ten are a finding
    "podium compare results/ncf-tiny results/perceptron": 1,  # two benchmarks have nothing to compare
}


@pytest.fixture
def checkout(tmp_path):
    """A folder that is this checkout, but for its results."""
    for entry in ROOT.iterdir():
        if entry.name not in {"results", ".git"}:
            (tmp_path / entry.name).symlink_to(entry)
    return tmp_path


@pytest.mark.timeout(900)
def test_the_tutorial_for_a_laptop(checkout):
    """One shell runs all its commands, so that what one of them sets the next one has."""
    said = {}
    script = "\n".join(
        f'echo "=== {number}"; {command}\necho "=== {number} ended with $?"'
        for number, command in enumerate(commands(LAPTOP))
    )
    done = subprocess.run(["bash"], input=script, cwd=checkout, capture_output=True, text=True, check=False)
    ended = dict(re.findall(r"^=== (\d+) ended with (\d+)$", done.stdout, re.MULTILINE))
    for number, command in enumerate(commands(LAPTOP)):
        said[command] = done.stdout.partition(f"=== {number}\n")[2].partition(f"=== {number} ended")[0]
        assert int(ended[str(number)]) == EXPECTED.get(command, 0), f"{command}\n{said[command]}\n{done.stderr}"
    run = next(output for command, output in said.items() if "run --local examples/ncf-tiny" in command)
    assert "Score:" in run
    assert run.count("not official") == 2
    assert (checkout / "results/ncf-tiny.html").read_text().startswith("<!doctype html>")
    validate = next(command for command in said if command.startswith("podium validate"))
    assert said[validate] in LAPTOP.read_text()


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_can_be_read(page):
    """By bash; their make targets, commands and options exist."""
    for command in commands(page):
        read = subprocess.run(["bash", "-n"], input=command, capture_output=True, text=True, check=False)
        assert read.returncode == 0, f"{command}\n{read.stderr}"
        for words in _simple_commands(command):
            if words[0] == "make":
                assert all(target in _targets() or "=" in target for target in words[1:]), command
            elif words[0] in {"podium", ".venv/bin/podium"}:
                assert _unknown_options(words[1:]) == [], command


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_of_a_page_in_the_repository_lead_somewhere(page):
    """The forge shows the pages, too. Those that are made when the site is built are only there."""
    made = re.compile(r"reference/(benchmarkrun|benchmarksweep|cli|chart|metrics|rules|rounds|reasons|examples)\.md")
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        if "://" not in target and not made.search(str((page.parent / target).resolve())):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_files_of_the_cloud_tutorial_are_there_or_shown():
    shown = {block.title for block in blocks(CLOUD, "yaml")}
    for command in commands(CLOUD):
        for words in _simple_commands(command):
            for flag, value in pairwise(words):
                if flag in {"-f", "--values", "--config-file"}:
                    assert value in shown or (ROOT / value).is_file(), command


def test_values_of_the_cloud_tutorial_fit_the_chart(tmp_path):
    with needed_parts():
        helm("version")
    values = [block for block in blocks(CLOUD, "yaml") if block.title == "values.yaml"]
    assert len(values) == 3
    for block in values:
        (tmp_path / "values.yaml").write_text(block.text)
        made = list(yaml.safe_load_all(helm("template", "podium", CHART, "--values", tmp_path / "values.yaml")))
        (deployment,) = [document for document in made if document and document["kind"] == "Deployment"]
        url = yaml.safe_load(block.text)["results"]["url"]
        assert f"--results-url={url}" in deployment["spec"]["template"]["spec"]["containers"][0]["args"]


def _simple_commands(command: str) -> list[list[str]]:
    """The words of each command in a line of shell, roughly: quoting is understood, control flow is not."""
    lexer = shlex.shlex(command.replace("\\\n", " "), posix=True, punctuation_chars=";&|()")
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set(";&|()"):
            found.append([])
        elif not (re.fullmatch(r"[A-Z_]+=.*", word) and not found[-1]):
            found[-1].append(word)
    return [words for words in found if words]


def _targets() -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def _unknown_options(words: list[str]) -> list[str]:
    """Options that the command does not have; the command itself when there is none of that name."""
    command = get_command(app)
    command.commands = load_commands()
    while getattr(command, "commands", None):
        name, *words = words or [""]
        if name in {"--help", "..."}:
            return []
        if name not in command.commands:
            return [name]
        command = command.commands[name]
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    return [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]
