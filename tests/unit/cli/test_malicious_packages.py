"""Packages made to run code of their own on the machine of whoever reads them: each is a finding, and nothing runs."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
import yaml

from podium.rounds import load_rounds
from podium.stores import FileStore
from podium.submissions import Submission, check_submission, files_of, gather
from tests.unit.cli.logs import changed, mllog, v06_log, write
from tests.unit.cli.test_package import SYSTEM, v07_log

FAILED = v07_log(50, 0.7, "aborted")  # did not converge: it may break rules, and the score leaves it out


def replaced(key, value):
    """The failed run with another value of `key`."""
    lines = [json.loads(line.removeprefix(":::MLLOG ")) for line in FAILED]
    return [":::MLLOG " + json.dumps(line | ({"value": value} if line["key"] == key else {})) for line in lines]


def too_long_for_podium(value):
    """A line of more than a million characters, which Podium does not read and MLCommons' own parser does."""
    return [*FAILED[:3], mllog("submission_division", value, -90, padding="x" * (1 << 20)), *FAILED[3:]]


def behind_another_token(value):
    """Two tokens in a line: a reader takes the first or the last."""
    inner = mllog("submission_division", value, -90)
    return [*FAILED[:3], f':::MLLOG {{"time_ms": 1, "key": "note", "value": "{inner}', *FAILED[3:]]


PLACES = {
    "a relative path": "../../../../../../../../../..{tmp}/evil",
    "an absolute path": "{tmp}/evil",
    "a folder of the package": "results/box/resnet/evil",
    "a newline": "closed\nevil",
    "a name of no division": "evil",
    "an expression": "{{}}'); open('{tmp}/marker', 'w') #",
    "no text": ["closed"],
}
LOGS = {
    "the division": lambda value: replaced("submission_division", value),
    "the benchmark": lambda value: replaced("submission_benchmark", value),
    "the optimizer": lambda value: replaced("opt_name", value),
    "a line too long for Podium": too_long_for_podium,
    "a second token in a line": behind_another_token,
}


@pytest.fixture
def evil(tmp_path, monkeypatch):
    """A folder, which is the working folder, with rule files under every name that one could be looked for."""
    code = f"open({str(tmp_path / 'marker')!r}, 'w').close()"
    rules = yaml.safe_dump([{"BEGIN": {"CODE": code}}, {"KEY": {"NAME": "run_start", "CHECK": code}}])
    for folder in (".", "training_0.7.0", "v0.7/acme/box/resnet", "training_0.7.0/results/box/resnet"):
        for name in ("evil", "evil_common", "closed_evil", "open_evil", "closed_resnet_evil", "closed\nevil_common"):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / f"{name}.yaml").write_text(rules)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def package(podium_json, folder, *options):
    (folder / "box.json").write_text(json.dumps(SYSTEM))
    (folder / "code").mkdir(exist_ok=True)
    (folder / "code/train.py").write_text("print('seed')\n")
    arguments = ("--system", folder / "box.json", "--out", folder / "package", *options)
    return podium_json("package", folder / "v0.7", *arguments)


@pytest.mark.parametrize("log", LOGS.values(), ids=LOGS)
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_rules_of_a_package_are_not_run(podium_json, evil, place, log):
    value = place.replace("{tmp}", str(evil)) if isinstance(place, str) else place
    write(evil / "v0.7/acme/box/resnet", [*(v07_log(t) for t in (60, 70, 80, 90)), log(value)])
    code, document = package(podium_json, evil, "--code", evil / "code")
    assert not (evil / "marker").exists()
    assert (code, (evil / "package").exists()) in {(0, True), (1, False)}
    if log in (LOGS["the division"], LOGS["the benchmark"]):
        (finding,) = (f for f in document["findings"] if f["rule"] != "review.division")
        assert finding["where"].endswith("resnet/result_4.txt")
        assert finding["rule"] in ("mlperf.submission_division", "mlperf.submission_benchmark", "log.benchmark")
    if log is LOGS["the optimizer"]:
        rules = {f["rule"] for f in document["findings"]} - {"review.hyperparameters.differ"}
        assert rules <= {"mlperf.opt_name", "mlperf.rules"} != set()
    if log is too_long_for_podium:  # the failed run breaks a rule, and MLCommons' checker never sees the line
        assert (code, document["findings"]) == (0, [])
    for command in ("check", "review"):
        podium_json(command, evil / "v0.7")
    assert not (evil / "marker").exists()


def test_rules_of_a_v06_package_are_not_run_either(podium_json, evil):
    """Its failed run may break rules as well, and no package checker looks at it."""
    failed = changed(changed(v06_log(), '"success"', '"aborted"'), '"closed"', '"../evil"')
    runs = [changed(v06_log(), "A. Person", f"Person {n}") for n in range(9)]
    write(evil / "v0.7/training_v0.6/acme/box/transformer", [*runs, failed])
    code, document = package(podium_json, evil, "--code", evil / "code", "--round", "v0.6")
    assert (code, {f["rule"] for f in document["findings"]}) == (1, {"mlperf.submission_division", "review.division"})


OUTSIDE = (
    "../../../../outside",
    "/outside",
    "resnet/../../../../outside",
    "resnet\n",
    "resnet;touch outside",
    "",
    "x" * 300,
)


@pytest.mark.parametrize("benchmark", OUTSIDE)
def test_a_benchmark_that_is_a_path(podium_json, evil, benchmark):
    results = write(evil / "v0.7/acme/box/resnet", [v07_log(t) for t in (60, 70, 80, 90, 100)])
    document = {"podium": "0.1.0", "round": "v0.7", "benchmark": benchmark, "run": {"name": "a"}, "score": {}}
    (results / "result.json").write_text(json.dumps(document))
    (results / "run.yaml").write_text("spec: {}\n")
    before = sorted(evil.rglob("*"))
    code, said = package(podium_json, evil)
    made = {path.relative_to(evil).parts[0] for path in set(evil.rglob("*")) - set(before)}
    assert made <= {"box.json", "code", "package"}
    if benchmark:  # else the logs and the folder name it
        assert (code, made) == (1, {"box.json", "code"})
        assert "package.benchmark" in {finding["rule"] for finding in said["findings"]}


@pytest.mark.parametrize("round_", ["../../x", "v9.9", "v0.7\n", "0.7.0/../../x"])
def test_a_round_that_is_a_path(podium_json, evil, round_):
    results = write(evil / "v0.7/acme/box/resnet", [v07_log(t) for t in (60, 70, 80, 90, 100)])
    (results / "result.json").write_text(json.dumps({"podium": "0.1.0", "round": round_, "benchmark": "resnet"}))
    code, said = package(podium_json, evil)
    (found,) = (finding for finding in said["findings"] if finding["rule"] == "package.round")
    assert (code, found["message"]) == (1, f"{round_!r} is not a known round")


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system ['touch marker']", "!!python/name:os.system"])
def test_objects_in_yaml_are_not_made(podium_json, evil, tag):
    results = write(evil / "v0.7/acme/box/resnet", [v07_log(t) for t in (60, 70, 80, 90, 100)])
    (results / "result.json").write_text(json.dumps({"podium": "0.1.0", "round": "v0.7", "benchmark": "resnet"}))
    (results / "run.yaml").write_text(f"spec: {tag}\n")
    _, said = podium_json("review", evil / "v0.7")
    assert "review.run" in {finding["rule"] for finding in said["findings"]}
    assert not (evil / "marker").exists()


VERSIONS = [
    "1; touch pwned",
    "1' 'x",
    "$(touch pwned)",
    "1\ntouch pwned",
    "1.0 --index-url=http://x",
    "-r/etc/passwd",
    "\u0661",
    1.5e300,
]


@pytest.mark.parametrize("version", VERSIONS, ids=repr)
def test_a_version_is_not_pasted_into_the_shell(podium_json, evil, version):
    own_result(evil, version)
    code, said = package(podium_json, evil)
    assert (code, (evil / "package").exists()) == (1, False)
    (found,) = (finding for finding in said["findings"] if finding["rule"] == "package.version")
    assert found["message"].endswith("not a version")


def scripts_of(folder, code=None):
    """What keeps a package from being made of the result in `folder`, and the files it would have."""
    parts = list(gather([FileStore(folder)], load_rounds(), None))
    submission = Submission("acme", "box", SYSTEM, code=code)
    found = check_submission(parts, submission, load_rounds())
    return [finding.rule for finding in found], {} if found else files_of(parts, submission)


@pytest.mark.parametrize("version", ["0.1.0", "1.2rc1", "2.0.post1", "0.3.dev4+g12ab"])
def test_the_script_of_a_package_installs_the_version_of_its_result(evil, version):
    """With a pip in front of the real one that writes down what it is asked."""
    own_result(evil, version)
    found, files = scripts_of(evil / "v0.7")
    assert found == []
    (evil / "bin").mkdir()
    (evil / "bin/pip").write_text('#!/bin/sh\nprintf "%s\\n" "$@" > asked\n')
    (evil / "bin/pip").chmod(0o755)
    (evil / "setup.sh").write_bytes(files["acme/benchmarks/resnet/box/setup.sh"])
    environment = {"PATH": f"{evil / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(["bash", evil / "setup.sh"], cwd=evil, env=environment, check=True)
    asked = (evil / "asked").read_text().splitlines()
    assert asked == ["install", f"podium-benchmarks=={version}", f"podium-operator=={version}"]


@pytest.mark.parametrize(
    "run",
    ["spec: {template: {command: [sh, -c, touch marker]}}", "spec: {template: {image: evil, args: [x]}}", "spec: [",
     "spec: {template: &a {<<: {args: [x]}}}", "- spec", "spec: {}\n---\nspec: {}", "spec: {template: x}"],
)  # fmt: skip
def test_the_script_of_a_package_starts_no_other_program(podium_json, evil, run):
    """run_and_time.sh starts the result's run.yaml, in the name of whoever submits the package."""
    own_result(evil, "0.1.0")
    (evil / "v0.7/acme/box/resnet/run.yaml").write_text(run)
    code, said = package(podium_json, evil)
    assert (code, said["findings"][0]["rule"]) == (1, "package.code")
    found, files = scripts_of(evil / "v0.7", {"train.py": b""})
    assert (found, [path for path in files if path.endswith("run.yaml")]) == ([], [])
    script = files["acme/benchmarks/resnet/box/run_and_time.sh"].decode()
    assert script.endswith('cd "$(dirname "$0")/../implementations/own"\n./run_and_time.sh\n')


def own_result(folder, version):
    """Five good runs beside a result.json and run.yaml of Podium's."""
    results = write(folder / "v0.7/acme/box/resnet", [v07_log(t) for t in (60, 70, 80, 90, 100)])
    document = {"podium": version, "round": "v0.7", "benchmark": "resnet", "division": "closed"}
    (results / "result.json").write_text(json.dumps(document))
    (results / "run.yaml").write_text("kind: BenchmarkRun\n")
