"""``podium review``: an honest package passes, and each kind of tampering is named."""

from __future__ import annotations

import hashlib
import json
import shutil

import pytest
import yaml
from typer.testing import CliRunner

from podium.cli.main import app
from tests.unit.cli.logs import mllog, v07_run, write
from tests.unit.cli.test_package import SYSTEM, TIMES, v07_log
from tests.unit.scoring.test_published import EXPECTED, LOGS

BASE = "acme/results/box/resnet"


@pytest.fixture(scope="module")
def packaged(tmp_path_factory):
    """A v0.7 package of five runs."""
    folder = tmp_path_factory.mktemp("package")
    evaluations = [[mllog("eval_accuracy", 0.1 * n + t / 1e4, 5 + n, epoch_num=n) for n in range(4)] for t in TIMES]
    logs = [[*v07_log(t)[:-4], *more, *v07_log(t)[-4:]] for t, more in zip(TIMES, evaluations, strict=True)]
    write(folder / "v0.7/acme/box/resnet", logs)
    (folder / "box.json").write_text(json.dumps(SYSTEM))
    (folder / "code").mkdir()
    (folder / "code/train.py").write_text("print('seed')\n")
    options = ["--system", folder / "box.json", "--code", folder / "code", "--out", folder / "out"]
    done = CliRunner().invoke(app, list(map(str, ["package", folder / "v0.7", *options])))
    assert done.exit_code == 0, done.output
    return folder / "out"


@pytest.fixture
def reviewed(packaged, podium_json, tmp_path):
    """The package, changed by a function, then reviewed; gives the findings as (rule, where, message)."""

    def run(change=lambda out: None):
        out = tmp_path / "package"
        shutil.copytree(packaged, out)
        change(out)
        code, document = podium_json("review", out, "--round", "v0.7")
        assert code == (1 if document["findings"] else 0)
        return {(f["rule"], f["where"], f["message"]) for f in document["findings"]}

    return run


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_an_honest_package(reviewed):
    assert reviewed() == set()


@pytest.mark.skipif(not EXPECTED.exists(), reason="the published logs are not here")
def test_published_rounds(podium_json):
    code, document = podium_json("review", LOGS)
    assert (code, len(document["scores"]), document["findings"]) == (0, 14, [])


def cut(out):
    path = out / BASE / "result_1.txt"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))


TAMPERED = {
    "a copied log": (
        lambda out: shutil.copy(out / BASE / "result_0.txt", out / BASE / "result_3.txt"),
        ("review.runs.same", f"{BASE}/result_3.txt", f"all 5 evaluations are the same as in {BASE}/result_0.txt")),
    "a log with another run_stop": (
        lambda out: (shutil.copy(out / BASE / "result_0.txt", out / BASE / "result_3.txt"),
                     edit(out / BASE / "result_3.txt", "1560000060000", "1560000059000")),
        ("review.runs.same", f"{BASE}/result_3.txt", f"all 5 evaluations are the same as in {BASE}/result_0.txt")),
    "a missing run": (
        lambda out: (out / BASE / "result_2.txt").unlink(), ("review.runs.missing", BASE, "attempt 2 is missing")),
    "a truncated log": (cut, ("log.run_stop.missing", f"{BASE}/result_1.txt", "the log ends without a run_stop line")),
    "a success that is none": (
        lambda out: edit(out / BASE / "result_1.txt", '"value": 0.76', '"value": 0.75'),
        ("log.quality.claim", f"{BASE}/result_1.txt", "quality 0.75, target 0.759, although run_stop says success")),
    "hyperparameters of one run": (
        lambda out: edit(out / BASE / "result_1.txt", '"global_batch_size", "value": 256', '"global_batch_size", "value": 512'),
        ("review.hyperparameters.differ", BASE, "the attempts differ in global_batch_size: 256, 512")),
    "a claim about hyperparameters": (
        lambda out: edit(out / "acme/benchmarks/resnet/box/box_own.json", '"global_batch_size": 256', '"global_batch_size": 128'),
        ("review.hyperparameters.claim", "acme/benchmarks/resnet/box/box_own.json", "global_batch_size is 128 here and 256 in the logs")),
    "another division": (
        lambda out: (out / "acme/systems/box.json").write_text(json.dumps(SYSTEM | {"division": "open"})),
        ("review.division", BASE, "the system description says open, the logs say closed")),
    "no system": (
        lambda out: (out / "acme/systems/box.json").unlink(), ("review.system", BASE, "there is no readable systems/box.json")),
}  # fmt: skip


@pytest.mark.parametrize(("change", "expected"), TAMPERED.values(), ids=TAMPERED)
def test_tampering_is_named(reviewed, change, expected):
    found = reviewed(change)
    assert expected in found, found


def podiums_own(tmp_path, minutes):
    """A result folder as the operator writes it, open division: no checker of MLCommons is asked for a target."""
    folder = tmp_path / "team/mine-1"
    for index, seconds in enumerate(TIMES, start=1):
        (folder / f"attempts/{index:03}").mkdir(parents=True)
        text = "\n".join(v07_run("resnet", seconds, 0.7 + index / 1000)) + "\n"
        (folder / f"attempts/{index:03}/result.txt").write_text(text)
    result = {"round": "v0.6", "benchmark": "resnet", "division": "open", "target": {"top1": 0.6},
              "system": {"name": "box"}, "score": {"timeToTrainMinutes": minutes},
              "attempts": [{"index": n} for n in range(1, 7)]}  # fmt: skip
    (folder / "result.json").write_text(json.dumps(result))
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    rows = (f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names)
    (folder / "SHA256SUMS").write_text("".join(rows))
    return folder


def test_podiums_own_results_are_held_to_their_claims(podium_json, tmp_path):
    folder = podiums_own(tmp_path, "1.5")
    edit(folder / "attempts/002/result.txt", "0.702", "0.703")
    (folder / "attempts/004/result.txt").unlink()
    _, document = podium_json("review", tmp_path)
    found = {(f["rule"], f["where"], f["message"]) for f in document["findings"]}
    assert {
        ("review.score", "team/mine-1", "result.json claims 1.500 minutes, the logs give 1.250 minutes"),
        ("review.runs.missing", "team/mine-1", "attempt 4 is missing"),
        ("review.runs.missing", "team/mine-1", "attempt 6 is missing"),
        ("review.sums", "team/mine-1/attempts/002/result.txt", "was changed after the result was written"),
        ("review.sums", "team/mine-1/SHA256SUMS", "attempts/004/result.txt is missing"),
    } <= found, found


def v40_log(seconds, epochs, batch=3264):
    """What the reference convergence points look at; other keys of the round are missing."""
    start = 1_714_000_000.0
    lines = [("submission_benchmark", "resnet", {}), ("submission_division", "closed", {}), ("global_batch_size", batch, {}),
             ("run_start", None, {}), ("eval_accuracy", 0.76, {"epoch_num": epochs})]  # fmt: skip
    made = [mllog(key, value, at, start, **more) for at, (key, value, more) in enumerate(lines)]
    return [*made, mllog("run_stop", None, seconds, start, status="success")]


def reviewed_v40(podium_json, folder, epochs, scaling=None):
    path = folder / "training_results_v4.0/acme/results/box/resnet"
    write(path, [v40_log(60 + n, count) for n, count in enumerate(epochs)])
    if scaling:
        (path / "scaling.json").write_text(json.dumps({"scaling_factor": scaling}))
    _, document = podium_json("review", folder)
    found = {f["rule"]: f["message"] for f in document["findings"]}
    return document["scores"][0]["convergence"], found


def test_runs_that_converge_faster_than_the_reference_ever_did(podium_json, tmp_path):
    convergence, found = reviewed_v40(podium_json, tmp_path, [33, 34, 34, 33, 35])
    assert convergence["passed"] is False
    assert found["review.convergence"].startswith("converged too fast, in 33.6667 epochs on average")


def test_a_score_is_scaled_to_the_references_epochs(podium_json, tmp_path):
    _, found = reviewed_v40(podium_json, tmp_path / "a", [34, 35, 35, 34, 36])
    assert found["review.scaling"].startswith("the scaling factor is 1.0000 instead of 1.0141")
    convergence, found = reviewed_v40(podium_json, tmp_path / "b", [34, 35, 35, 34, 36], scaling=1.0141)
    assert (convergence["passed"], "review.scaling" in found, "review.convergence" in found) == (True, False, False)


def test_rounds_without_reference_points_say_so(podium_text, tmp_path):
    write(tmp_path / "v0.6/acme/box/ssd", [v07_run("ssd", 60, 0.24)] * 5)
    _, text = podium_text("review", tmp_path, "--round", "v0.6")
    assert "v0.6 has no reference convergence points; v1.0 introduced them" in " ".join(text.split())


def own_run(tmp_path, spec):
    """A closed result of Podium's with one log that names its hyperparameters."""
    folder = tmp_path / "team/mine-1"
    (folder / "attempts/001").mkdir(parents=True)
    lines = [mllog("global_batch_size", 1024), mllog("opt_base_learning_rate", 0.6), *v07_run("resnet", 60, 0.76)]
    (folder / "attempts/001/result.txt").write_text("\n".join(lines) + "\n")
    result = {"round": "v0.5", "benchmark": "resnet", "division": spec["division"], "target": {"top1": 0.749},
              "system": {"name": "box"}, "attempts": [{"index": 1}]}  # fmt: skip
    (folder / "result.json").write_text(json.dumps(result))
    system = {"name": "box", "nodes": 1, "acceleratorsPerNode": 8}
    document = {"spec": {"round": "v0.5", "benchmark": "resnet", "system": system, **spec}}
    (folder / "run.yaml").write_text(yaml.safe_dump(document))
    return folder


OWN = {
    "an honest run": ({"division": "closed", "hyperparameters": {"opt_base_learning_rate": 0.6}}, set()),
    "another value than was trained with": (
        {"division": "closed", "hyperparameters": {"opt_base_learning_rate": 0.4}},
        {("review.hyperparameters.claim", "team/mine-1/run.yaml", "opt_base_learning_rate is 0.4 here and 0.6 in the logs")}),
    "a value that the closed rules forbid": (
        {"division": "closed", "hyperparameters": {"opt_learning_rate_warmup_factor": 0.3}},
        {("v0.5.resnet.warmup_step", "team/mine-1/run.yaml: spec.hyperparameters.opt_learning_rate_warmup_factor",
          "0.3 is not allowed; allowed: 1 - 1/2^k for a whole number k: 0, 0.5, 0.75, 0.875, ...; the nearest allowed value is 0.5")}),
    "a tuned run out of the box": (
        {"division": "outOfTheBox", "hyperparameters": {"opt_base_learning_rate": 0.6}},
        {("spec.hyperparameters.outOfTheBox", "team/mine-1/run.yaml: spec.hyperparameters.opt_base_learning_rate",
          "not tunable out of the box; leave it out: such a run may set only global_batch_size"),
         ("v0.5.resnet.rate.untuned", "team/mine-1/attempts/001/result.txt",
          "opt_base_learning_rate: 0.6 is not the reference's 0.512")}),
    "no run": ({"division": "closed", "round": 5}, {("review.run", "team/mine-1", "there is no readable run.yaml")}),
}  # fmt: skip


@pytest.mark.parametrize(("ranks", "messages"), [(8, []), (4, ["the run starts 8 ranks, a log has 4"])])
def test_ranks_of_a_log_are_those_that_the_run_starts(podium_json, tmp_path, ranks, messages):
    log = own_run(tmp_path, {"division": "closed"}) / "attempts/001/result.txt"
    log.write_text(mllog("number_of_ranks", ranks) + "\n" + log.read_text())
    _, document = podium_json("review", tmp_path)
    assert [f["message"] for f in document["findings"] if f["rule"] == "review.chips"] == messages


@pytest.mark.parametrize(("spec", "expected"), OWN.values(), ids=OWN)
def test_podiums_own_runs_are_held_to_the_rules_and_to_their_logs(podium_json, tmp_path, spec, expected):
    own_run(tmp_path, spec)
    _, document = podium_json("review", tmp_path)
    found = {(f["rule"], f["where"], f["message"]) for f in document["findings"]}
    beside = "review.contradiction", "review.sums"  # it has no files but these; see test_own_results
    short = ".required", ".once", ".first"  # its logs have hardly any line; see test_closed_runs
    reported = {each for each in found if each[0] not in ("package.score", "log.target", *beside)}
    reported = {each for each in reported if not each[0].endswith(short)}
    assert reported == expected


def test_a_result_written_when_a_round_was_called_a_suite(podium_json, tmp_path):
    """Results outlive the versions that wrote them."""
    folder = own_run(tmp_path, {"division": "closed", "hyperparameters": {"opt_base_learning_rate": 0.4}})
    result = json.loads((folder / "result.json").read_text())
    result["run"] = {"namespace": "team", "name": "mine"}
    (folder / "result.json").write_text(json.dumps({"suite": result.pop("round"), **result}))
    document = yaml.safe_load((folder / "run.yaml").read_text())
    document["spec"]["suite"] = document["spec"].pop("round")
    (folder / "run.yaml").write_text(yaml.safe_dump(document))
    _, (scored,) = podium_json("score", tmp_path)
    _, history = podium_json("history", tmp_path)
    assert (scored["round"], history["results"][0]["round"]) == ("v0.5", "v0.5")
    _, review = podium_json("review", tmp_path)
    claims = {finding["rule"] for finding in review["findings"]}
    assert "review.hyperparameters.claim" in claims
    assert "review.run" not in claims


def test_a_report_says_how_fast_the_attempts_converged(podium_json, podium_text, tmp_path):
    reviewed_v40(podium_json, tmp_path, [33, 34, 34, 33, 35])
    sentence = "converged too fast, in 33.6667 epochs on average"
    _, (found,) = podium_json("report", tmp_path)
    assert found["convergence"].startswith(sentence)
    podium_text("report", tmp_path, "--out", tmp_path / "report.html")
    assert sentence in (tmp_path / "report.html").read_text()
