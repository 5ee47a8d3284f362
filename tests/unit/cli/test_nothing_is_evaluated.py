"""Words of a log, a package or a rules file are data: whatever is evaluated comes from installed code."""

from __future__ import annotations

import builtins
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from mlperf_logging.compliance_checker import mlp_compliance

from podium.mlcommons import process
from podium.rounds import load_rounds
from tests.unit.cli.logs import v05_run, v06_run, v07_run, write

MARK = "podium_was_here"
CALL = f"__import__('builtins').__dict__.setdefault('{MARK}', 1)"
SPOILT = {
    "a value": lambda line: line.replace("ACME", CALL),
    "a value as a Python expression": lambda line: line.replace('"ACME"', CALL),
    "a key": lambda line: line.replace("submission_org", CALL),
    "the benchmark": lambda line: line.replace('"resnet"', json.dumps(CALL)),
    "a time": lambda line: line.replace("15600", f"{CALL}15600"),
    "a status": lambda line: line.replace('"success"', json.dumps(CALL)),
    "a file of rules": lambda line: line.replace('"resnet"', json.dumps(f"../../../..{{tmp}}/{MARK}")),
}


class Watch:
    """What is compiled from text, or run as such, while `on`. An audit hook stays for good: so there is one of it."""

    def __init__(self):
        self.on, self.seen = False, []
        sys.addaudithook(self)

    def __call__(self, event, arguments):
        if self.on and event in ("exec", "compile"):
            self.seen.append((event, arguments))


@pytest.fixture(scope="module")
def watch():
    return Watch()


# The process of MLCommons' tools as it is, which writes down what its eval, exec and compile get
LISTENING = """
import builtins, importlib.util, json, os, sys
out = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def spy(name):
    def run(text, *scopes):
        os.write(out, json.dumps(["checker", text]).encode() + b"\\n")
        return getattr(builtins, name)(text, *scopes)
    return run
def watch(event, arguments):
    if event == "compile" and isinstance(arguments[0], str | bytes) and arguments[1] == "<string>":
        os.write(out, json.dumps(["python", str(arguments[0])]).encode() + b"\\n")
spec = importlib.util.spec_from_file_location("worker", sys.argv[1])
worker = sys.modules["worker"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(worker)
from mlperf_logging.compliance_checker import mlp_compliance
mlp_compliance.eval, mlp_compliance.exec = spy("eval"), spy("exec")
sys.addaudithook(watch)
worker.main()
"""


@pytest.fixture
def evaluated(tools_of, tmp_path):
    """All texts that the process of MLCommons' tools evaluated so far, by who did."""
    heard = tmp_path / "heard"
    tools_of(sys.executable, "-I", "-B", "-c", LISTENING, process.COMMAND[-1], str(heard))
    return lambda: [json.loads(line) for line in heard.read_text().splitlines()] if heard.exists() else []


def runs(make, spoil, folder):
    return [[spoil(line).replace("{tmp}", str(folder)) for line in make("resnet", 60 + n, 0.76)] for n in range(5)]


@pytest.mark.parametrize("make", [v05_run, v06_run, v07_run])
@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_of_a_package(podium_json, tmp_path, watch, evaluated, make, spoil):
    rules = tmp_path / f"{MARK}.yaml"
    rules.write_text(yaml.safe_dump([{"BEGIN": {"CODE": CALL}}, {"KEY": {"NAME": "run_start", "CHECK": CALL}}]))
    results = write(tmp_path / "v0.6/acme/results/box/resnet", runs(make, spoil, tmp_path))
    for name in ("scaling.json", "result.json"):
        (results / name).write_text(json.dumps({"scaling_factor": CALL, "round": CALL, "benchmark": CALL}))
    (tmp_path / "v0.6/acme/systems").mkdir()
    (tmp_path / "v0.6/acme/systems/box.json").write_text(json.dumps({"division": CALL, "number_of_nodes": CALL}))
    for command in ("score", "check", "review"):
        podium_json(command, tmp_path / "v0.6/acme")  # imports what it needs
        watch.seen.clear()
        watch.on = True
        podium_json(command, tmp_path / "v0.6/acme")
        watch.on = False
        for event, arguments in watch.seen:
            assert event == "compile" or MARK not in words_of(arguments[0]), f"{command} ran words of the package"
    assert not hasattr(builtins, MARK)
    own = " ".join(" ".join(file.read_text() for file in RULES.rglob("*.yaml")).split())
    for who, text in evaluated():
        assert MARK not in text
        assert who == "python" or all(" ".join(line.split()) in own for line in text.splitlines()), text


RULES = Path(mlp_compliance.__file__).parent


def words_of(code):
    """The names and constants of a code object and those within it."""
    inner = [words_of(constant) for constant in code.co_consts if hasattr(constant, "co_consts")]
    return " ".join([*code.co_names, *map(str, code.co_consts), *inner])


@pytest.mark.parametrize("tag", ["!!python/object/apply:builtins.setattr [builtins, x]", f"!!python/name:{MARK}"])
def test_of_a_round(tmp_path, tag):
    (tmp_path / "v9.0.yaml").write_text(f"name: {tag}\n")
    with pytest.raises(Exception, match="could not determine a constructor"):
        load_rounds(tmp_path)


def test_the_checker_does_evaluate_its_own_rules(podium_json, tmp_path, evaluated):
    """Else the test above would watch nothing."""
    podium_json("check", write(tmp_path / "v0.6/acme/results/box/resnet", [v06_run("resnet", 60, 0.76)]))
    assert {who for who, _ in evaluated()} == {"checker", "python"}


def test_this_process_loads_nothing_of_mlcommons(tmp_path):
    """Neither the commands nor the operator: in a process that no other test has loaded it into."""
    place = write(tmp_path / "v0.7/acme/results/box/resnet", [v07_run("resnet", 60, 0.76)] * 5)
    code = f"""
import sys
from typer.testing import CliRunner
from podium.cli.main import app
import podium.controller.main
for command in ("check", "review"):
    assert CliRunner().invoke(app, [command, {str(place)!r}]).exit_code == 1
print([name for name in sys.modules if name.startswith(("mlperf", "numpy", "scipy", "pandas"))])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
