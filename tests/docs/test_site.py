"""The site builds without a warning, every link in it leads somewhere, and what is made from the code is complete."""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import sys

import pytest
from tools.docs import pages
from tools.docs.links import problems

from podium.api.crd import crd
from podium.cli.commands import load_commands
from podium.launch import environment
from podium.mllog.summary import LogAccumulator
from podium.rounds import load_rounds
from tests.cluster.fixtures import ROOT
from tests.unit.launch.test_manifests import launch

CONTRACTS = (ROOT / "docs/reference/contracts.md").read_text()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


@pytest.fixture(scope="module")
def made():
    return pages()


def test_every_link_leads_somewhere_and_nothing_is_loaded_from_elsewhere(site):
    assert list(problems(site)) == []


@pytest.fixture
def opened(site, tmp_path):
    """Opens a page of the site from its folder, as a person who has downloaded it; gives what it has become."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs chromium")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={tmp_path}"]

    def open_page(page, query=""):
        url = f"{(site / page).as_uri()}{query}"
        command = [browser, *options, "--virtual-time-budget=20000", "--dump-dom", url]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout

    return open_page


@pytest.mark.parametrize("page", ["index.html", "tutorial/laptop.html"])
def test_search_works_from_a_folder(opened, page):
    found = re.search(r'md-search-result__meta">\s*(\d+) matching documents', opened(page, "?q=kueue"))
    assert found
    assert int(found[1]) > 3


def test_the_copy_button_takes_what_is_typed(opened, site):
    """Neither the prompt nor what the command prints; the theme marks a block while it copies its text."""
    page = site / "tutorial/copied.html"
    page.write_text(
        (site / "tutorial/laptop.html")
        .read_text()
        .replace(
            "</body>",
            """<script>window.addEventListener("load", () => {
                 const blocks = [...document.querySelectorAll(".highlight code")];
                 blocks.forEach(block => block.setAttribute("data-md-copying", ""));
                 const said = document.createElement("pre");
                 said.id = "copied";
                 said.textContent = blocks.map(block => block.innerText).join("\\n");
                 document.body.append(said);
               })</script></body>""",
        )
    )
    copied = html.unescape(re.search(r'<pre id="copied">(.*?)</pre>', opened("tutorial/copied.html"), re.DOTALL)[1])
    lines = [line for line in copied.splitlines() if line.strip()]
    assert "podium validate examples/ncf-tiny.yaml" in lines
    assert not [line for line in lines if line.startswith("$ ") or "would be admitted" in line]


def test_a_wrong_link_is_reported(tmp_path):
    (tmp_path / "a.html").write_text(
        '<a href="b.html">1</a><a href="#x">2</a><a href="http://example.org">3</a>'
        '<script src="https://example.org/x.js"></script><a id="y" href="#y">fine</a>'
    )
    assert list(problems(tmp_path)) == [
        "a.html: b.html does not exist",
        "a.html: #x names an anchor that does not exist",
        "a.html: http://example.org is not an https address",
        "a.html: loads https://example.org/x.js, which is not part of this site",
    ]


def test_every_field_of_the_crd_is_described(made):
    def fields(schema):
        for name, field in schema.get("properties", {}).items():
            yield name
            yield from fields(field.get("items", field))

    schema = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    page = made["reference/benchmarkrun.md"]
    assert [name for part in ("spec", "status") for name in fields(schema[part]) if f"| `{name}` |" not in page] == []


def test_every_command_and_option_is_listed(made):
    page = made["reference/cli.md"]

    def leaves(command, name):
        children = getattr(command, "commands", {})
        yield from (leaf for child in children.values() for leaf in leaves(child, f"{name} {child.name}"))
        if not children:
            yield name, command

    commands = [leaf for child in load_commands().values() for leaf in leaves(child, f"podium {child.name}")]
    for name, command in commands:
        section = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
        assert section, name
        options = [word for parameter in command.params for word in parameter.opts if word.startswith("--")]
        assert [word for word in options if f"`{word}`" not in section[1]] == []


def test_metrics_of_runs_and_of_the_operator_are_listed(made):
    for name in (
        "podium_run_quality",
        "podium_run_info",
        "podium_runs",
        "podium_leader",
        "podium_reconcile_duration_seconds",
    ):
        assert f"| `{name}` |" in made["reference/metrics.md"]


def test_the_rules_of_hyperparameters_are_there(made):
    own = {
        rule.id for round_ in load_rounds().values() for b in round_.benchmarks.values() for rule in b.ruled.values()
    }
    assert [id_ for id_ in own if f"`{id_}`" not in made["reference/rules.md"]] == []


def test_every_round_and_its_benchmarks_are_there(made):
    page = made["reference/rounds.md"]
    for name, round_ in load_rounds().items():
        section = re.search(rf"^## {re.escape(name)} .*?(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
        assert [key for key in round_.benchmarks if f"| `{key}` |" not in section[0]] == []


def test_every_variable_of_the_launch_contract_is_reported():
    names = [*environment(launch(), "rank0"), "PET_NODE_RANK", "PODIUM_DATA_DIR"]
    assert [name for name in names if f"`{name}`" not in CONTRACTS] == []


def test_every_key_that_the_parser_acts_on_is_reported():
    assert [key for key in LogAccumulator._HANDLERS if f"`{key}`" not in CONTRACTS] == []


def test_every_example_is_shown(made):
    for file in (ROOT / "examples").glob("*.yaml"):
        assert file.read_text() in made["reference/examples.md"]
