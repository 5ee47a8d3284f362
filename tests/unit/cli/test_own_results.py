"""The files of Podium's results against each other: `review` names what one of them says and another one does not.

Digests are made again after each change, and the ledger is taken out: what is named is named by the contents.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

CASES = Path(__file__).parents[4] / "shared/cases/logs"
PROGRAM = textwrap.dedent(
    """
    import json, os, sys, time
    def log(key, value=None, **metadata):
        body = {"namespace": "", "time_ms": int(time.time() * 1000), "event_type": "POINT_IN_TIME", "key": key}
        print(":::MLLOG " + json.dumps({**body, "value": value, "metadata": metadata}), flush=True)
    if os.environ["PET_NODE_RANK"] != "0":
        sys.exit(0)
    seed = int(os.environ["PODIUM_SEED"])
    print("hello", flush=True)
    log("seed", seed)
    log("global_batch_size", 32)
    log("run_start", max_epochs=3)
    for epoch in range(1, 4):
        time.sleep(0.2)
        log("tracked_stats", {"throughput": 100 + seed % 13}, epoch_num=epoch, samples_count=1000 * epoch)
        log("eval_accuracy", 0.2 * epoch + (seed % 1000) / 10000, epoch_num=epoch)
    log("run_stop", status="success")
    """
)


def run(folder, program):
    """The result of three attempts on this machine."""
    spec = {
        "round": "v0.6", "benchmark": "mine", "division": "open", "attempts": 3, "quality": {"target": "0.6"},
        "system": {"name": "laptop", "nodes": 2},
        "template": {"image": "mine:1", "command": [sys.executable, "-c", program]},
    }  # fmt: skip
    body = {"apiVersion": "podium.dev/v1alpha1", "kind": "BenchmarkRun", "metadata": {"name": "mine"}, "spec": spec}
    (folder / "run.yaml").write_text(yaml.safe_dump(body))
    command = [sys.executable, "-m", "podium", "run", "--local", "run.yaml", "--out", "out"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "out"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A result of three honest attempts."""
    return run(tmp_path_factory.mktemp("own"), PROGRAM)


class Result:
    """A copy of the result, and how to change it."""

    def __init__(self, place):
        self.place = place

    def edit(self, name, change):
        """Change the lines of a text, or the document in a JSON or YAML file."""
        file = self.place / name
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        if file.suffix in (".json", ".yaml"):
            document = yaml.safe_load(content)
            change(document)
            content = (json.dumps(document) if file.suffix == ".json" else yaml.safe_dump(document)).encode()
        else:
            content = "".join(f"{line}\n" for line in change(content.decode().splitlines())).encode()
        file.write_bytes(gzip.compress(content) if file.suffix == ".gz" else content)

    def seal(self):
        (self.place / "ledger.jsonl").unlink(missing_ok=True)
        for record in self.place.glob("attempts/*/attempt.json"):
            document = json.loads(record.read_text())
            for name in document["files"]:
                if (file := record.parent / name).exists():
                    document["files"][name] = hashlib.sha256(file.read_bytes()).hexdigest()
            record.write_text(json.dumps(document))
        files = sorted(file for file in self.place.rglob("*") if file.is_file() and file.name != "SHA256SUMS")
        sums = (f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.relative_to(self.place)}\n" for f in files)
        (self.place / "SHA256SUMS").write_text("".join(sums))


ONE = "attempts/001"
RECORD, LOG, POD = f"{ONE}/attempt.json", f"{ONE}/result.txt", f"{ONE}/logs/pod-0.log.gz"


def document(name, *path, to):
    """Set one field."""

    def change(value):
        *above, last = path
        for key in above:
            value = value[key]
        value[last] = to

    return lambda result: result.edit(name, change)


def lines(name, change):
    return lambda result: result.edit(name, change)


def halved(found):
    """All stamps after run_start come half as late."""
    start = next(int(re.search(r'"time_ms": (\d+)', line)[1]) for line in found if '"run_start"' in line)
    return [
        re.sub(r'("time_ms": )(\d+)', lambda m: f"{m[1]}{start + (int(m[2]) - start) // 2}", line) for line in found
    ]


def moved(time, by):
    """The second evaluation was seen at another time."""

    def change(record):
        record["seen"]["evaluations"][1][time] += by

    return change


def removed(name):
    return lambda result: (result.place / name).unlink()


def added(name, like):
    def change(result):
        (result.place / name).parent.mkdir(parents=True, exist_ok=True)
        (result.place / name).write_bytes((result.place / like).read_bytes())

    return change


CHANGES = {
    "the stamps of a log": (lines(LOG, halved), RECORD, "evaluations[0].seconds is"),
    "the stamps of a log and of its pod": (
        lambda r: (r.edit(LOG, halved), r.edit(POD, halved)), RECORD, "evaluations[0].seconds is"
    ),
    "a line is taken out": (lines(LOG, lambda found: found[:4] + found[5:]), POD, "1 MLPerf lines that the pod printed"),
    "the end of a log, with a note on the clock": (
        lambda r: (r.edit(LOG, lambda found: found[:-1]), document(RECORD, "findings", to=["the clock of rank 0's node"])(r)),
        POD, "1 MLPerf lines that the pod printed"),
    "a line is put in": (
        lines(LOG, lambda found: [*found[:4], found[4].replace("100", "200") + " ", *found[4:]]), POD,
        "1 lines of result.txt are not among what the pod printed",
    ),
    "a line is taken out of the pod's log": (
        lines(POD, lambda found: found[:5] + found[6:]), POD, "1 lines of result.txt are not among"
    ),
    "two lines change places": (
        lines(LOG, lambda found: [found[1], found[0], *found[2:]]), POD, "has the lines of result.txt in another order"
    ),
    "a time in result.json": (
        document("result.json", "attempts", 0, "timeToTrainSeconds", to="0.100"), RECORD, "here, '0.100' in result.json"
    ),
    "a time in attempt.json": (
        document(RECORD, "timeToTrainSeconds", to="0.100"), RECORD, "timeToTrainSeconds is '0.100' here"
    ),
    "a state": (document("result.json", "attempts", 0, "state", to="NotConverged"), RECORD, "state is 'Converged' here"),
    "a seed is taken out": (
        lambda r: r.edit("result.json", lambda value: value["attempts"][0].pop("seed")), RECORD, "nothing in result.json"
    ),
    "a seed": (document("result.json", "attempts", 0, "seed", to=1), RECORD, "here, 1 in result.json"),
    "the score": (document("result.json", "score", "timeToTrainMinutes", to="0.0001"), "result.json", "its attempts"),
    "the variation": (document("result.json", "score", "coefficientOfVariation", to="0"), "result.json", "its attempts"),
    "the dropped attempts": (document("result.json", "score", "dropped", to=[]), "result.json", "its attempts"),
    "the outcome": (document("result.json", "outcome", to="Done"), "result.json", "the outcome is 'Done'"),
    "an evaluation": (
        document(RECORD, "evaluations", 0, "quality", "eval_accuracy", to=0.5), RECORD, "in result.txt"
    ),
    "a hyperparameter": (document(RECORD, "hyperparameters", "global_batch_size", to=8), RECORD, "32 in result.txt"),
    "the rate": (document(RECORD, "log", "rate", "seconds", to=0.001), RECORD, "log.rate.seconds is 0.001 here"),
    "when run_start was printed": (document(RECORD, "seen", "runStart", "printed", to=1.0), RECORD, "although the log"),
    "when run_stop was received": (document(RECORD, "seen", "runStop", "received", to=1.0), RECORD, "although the clock"),
    "when an evaluation was received": (
        document(RECORD, "seen", "evaluations", 1, "received", to=2e9), RECORD,
        "s before eval_accuracy, which the log has above it",
    ),
    "when the last evaluation was received": (
        document(RECORD, "seen", "evaluations", 2, "received", to=2e9), RECORD,
        "s before eval_accuracy, which the log has above it",
    ),
    "when the first evaluation was received": (
        document(RECORD, "seen", "evaluations", 0, "received", to=1e9), RECORD,
        "s before run_start, which the log has above it",
    ),
    "when an evaluation was printed": (
        document(RECORD, "seen", "evaluations", 1, "printed", to=2e9), RECORD, "after the end of rank 0's container"
    ),
    "when an evaluation was printed, before the end": (
        lambda r: r.edit(RECORD, moved("printed", by=-5.0)), POD, "eval_accuracy was received 5.0 s after it was"
    ),
    "when an evaluation was printed, later": (
        lambda r: r.edit(RECORD, moved("printed", by=5.0)), POD, "eval_accuracy was received 5.0 s before it was printed"
    ),
    "the offset of the clock": (
        document(RECORD, "seen", "nodeClockOffsetSeconds", to=0.5), RECORD, "seen.nodeClockOffsetSeconds is 0.5, and"
    ),
    "no offset of the clock": (
        document(RECORD, "seen", "nodeClockOffsetSeconds", to=None), RECORD, "Seconds is nothing, and the lines show"
    ),
    "a container that ended well": (
        document(RECORD, "pods", 1, "exitCode", to=1), RECORD, "the container of node 1 ended with exit code 1, 'Completed'"
    ),
    "a container that did not end well": (
        document(RECORD, "pods", 1, "stopped", to="Error"), RECORD, "the container of node 1 ended with exit code 0, 'Error'"
    ),
    "a signal": (document(RECORD, "pods", 1, "signal", to=9), RECORD, "exit code 0, 'Completed', and by signal 9"),
    "when a container started": (
        document(RECORD, "pods", 1, "started", to=2e9), RECORD, "the container of node 1 ended before it started"
    ),
    "the schema of a record": (document(RECORD, "schema", to="podium.dev/attempt/v9"), RECORD, "in every attempt.json"),
    "the schema of the result": (document("result.json", "schema", to="x"), "result.json", "in every result.json"),
    "a stamp that was seen": (document(RECORD, "seen", "runStop", "logged", to=1.0), RECORD, "seen.runStop.logged is"),
    "an evaluation that was not seen": (
        document(RECORD, "seen", "evaluations", to=[]), RECORD, "0 evaluations were seen and 0 left out"
    ),
    "when the container ended": (
        document(RECORD, "pods", 0, "finished", to=1.0), RECORD, "the container of rank 0 ran from"
    ),
    "a pod": (document(RECORD, "pods", to=[]), RECORD, "has pods none; run.yaml wants 2 nodes"),
    "a node of two pods": (
        lambda r: r.edit(RECORD, lambda value: [pod.update(node="node-1") for pod in value["pods"]]), RECORD,
        "its 2 pods ran on 1 nodes; run.yaml wants 2",
    ),
    "another run": (document(RECORD, "run", "uid", to="x"), RECORD, "run.uid is 'x' here"),
    "the target": (document("run.yaml", "spec", "quality", "target", to="0.5"), "run.yaml", "target.quality is 0.5 here"),
    "the system": (document("system.json", "nodes", to=1), "system.json", "system.nodes is 1 here, 2 in result.json"),
    "an attempt is taken out": (
        lambda r: r.edit("result.json", lambda value: value["attempts"].pop()), "attempts/003/attempt.json",
        "result.json does not list attempt 3",
    ),
    "a record is taken out": (removed(RECORD), RECORD, "is missing; result.json lists attempt 1"),
    "a pod's log is taken out": (removed(POD), POD, "attempt.json lists it, and it is missing"),
    "a log is put in": (
        added(f"{ONE}/logs/pod-2.log.gz", POD), f"{ONE}/logs/pod-2.log.gz", "attempt.json does not list it"
    ),
    "a file is put in": (added("notes.txt", LOG), "notes.txt", "is not a file of a result"),
    "a try is put in": (
        added(f"{ONE}/tries/0/attempt.json", RECORD), f"{ONE}/attempt.json", "result.json lists attempt 1"
    ),
}  # fmt: skip


def test_each_change_is_named(original, tmp_path, podium_json):
    """One test, since it takes a run."""
    code, honest = podium_json("review", original)
    assert (code, honest["findings"]) == (0, [])
    assert CHANGES
    for name, (change, where, words) in CHANGES.items():
        place = tmp_path / name.replace(" ", "-")
        shutil.copytree(original, place)
        result = Result(place)
        change(result)
        result.seal()
        found = podium_json("review", place)[1]["findings"]
        named = [f for f in found if f["where"] == where and words in f["message"]]
        assert named, (name, found)


def as_in_a_cluster(result):
    """Give the lines of the pod's log timestamps, as the kubelet does: those of which attempt.json keeps when."""
    seen = json.loads((result.place / RECORD).read_text())["seen"]
    times = {one["logged"]: one["printed"] for one in (seen["runStart"], *seen["evaluations"], seen["runStop"])}
    at = seen["runStart"]["printed"]

    def change(found):
        nonlocal at
        for line in found:
            stamp = re.search(r'"time_ms": (\d+)', line)
            at = times.get(int(stamp[1]) / 1000 if stamp else None, at)
            yield f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%S.%f}Z {line}"

    result.edit(POD, change)


@pytest.mark.parametrize(
    ("name", "path", "by", "words"),
    [
        ("nothing", (), 0, ""),
        ("run_start", ("runStart",), 0.4, "run_start was printed at"),
        ("run_stop", ("runStop",), 0.4, "run_stop was printed at"),
        ("an evaluation", ("evaluations", 1), 0.004, "eval_accuracy was printed at"),
    ],
)
def test_when_the_lines_were_printed_is_in_the_log_of_a_pod_too(original, tmp_path, podium_json, name, path, by, words):
    shutil.copytree(original, tmp_path / "out")
    result = Result(tmp_path / "out")
    as_in_a_cluster(result)

    def change(record):
        one = record["seen"]
        for key in path:
            one = one[key]
        one["printed"] -= by

    if path:
        result.edit(RECORD, change)
    result.seal()
    found = podium_json("review", result.place)[1]["findings"]
    assert [(f["where"], words in f["message"]) for f in found if f["where"] == POD] == [(POD, True)] * bool(path), name
    assert path or not found


@pytest.mark.parametrize("count", [1, 300])
def test_the_log_of_a_program_that_was_restarted_contradicts_nothing(tmp_path, podium_json, count):
    """The run that counts is the second one, and what was seen of the first one is not missing from it."""
    more = f'for n in range({count}): log("eval_accuracy", seed % 1000 / 1e5, epoch_num=n + 1)'
    again = f'{more}\nlog("init_start")\ntime.sleep(0.1)\n'
    place = run(
        tmp_path, PROGRAM.replace('log("run_start"', f'log("run_start")\ntime.sleep(0.6)\n{again}log("run_start"')
    )
    found = podium_json("review", place)[1]["findings"]
    assert {finding["rule"] for finding in found} == {"log.run_start.repeated"}


def test_a_record_that_has_no_rate_yet_contradicts_nothing(original, tmp_path, podium_json):
    shutil.copytree(original, tmp_path / "out")
    result = Result(tmp_path / "out")
    result.edit(RECORD, lambda record: record["log"].pop("rate"))
    result.seal()
    assert [
        f for f in podium_json("review", tmp_path / "out")[1]["findings"] if f["rule"] == "review.contradiction"
    ] == []


STORED_BEFORE = "result.txt was stored before, with 12 lines; 8 of them could be read again"
NO_END = "rank 0's log was stored before its end: it had not ended"
INVALID = {"state": "Invalid", "reason": "ClockInvalid", "timeToTrainSeconds": None, "quality": None, "epochs": None}


@pytest.mark.parametrize(
    ("note", "status", "change", "words"),
    [
        (STORED_BEFORE, INVALID, None, []),
        (STORED_BEFORE, INVALID, document(RECORD, "evaluations", 1, "quality", to={"eval_accuracy": 9}),
         ["is of fewer lines than result.txt, but has an evaluation of {'eval_accuracy': 9}"]),
        (STORED_BEFORE, INVALID, document(RECORD, "seen", "runStart", "logged", to=9), ["seen.runStart.logged is 9 here"]),
        # a process that found that it converged had read the lines of the clock
        (STORED_BEFORE, {}, None, ["seen.runStop.logged is nothing here"]),
        (STORED_BEFORE, {"timeToTrainSeconds": "9"}, None, ["timeToTrainSeconds is '9' here", "seen.runStop.logged is"]),
        (NO_END, INVALID, None, ["evaluations is 2 here, 3 in", "seen.runStop.logged is", "2 evaluations were seen"]),
    ],
)  # fmt: skip
def test_a_record_of_fewer_lines_than_were_stored_before(original, tmp_path, podium_json, note, status, change, words):
    """It may lack what the other process could not read any more, but it has nothing else."""
    result = Result(shutil.copytree(original, tmp_path / "out"))

    def shorten(record):
        record.update(status, findings=[note])
        record["log"].update(mlperfLines=8, runStop=None, runStopStatus=None, pace=None)
        record["evaluations"].pop()
        record["seen"].update(runStop=None, evaluations=record["seen"]["evaluations"][:2])

    result.edit(RECORD, shorten)
    result.edit("result.json", lambda value: value["attempts"][0].update(status))
    if change:
        change(result)
    result.seal()
    found = [f["message"] for f in podium_json("review", result.place)[1]["findings"] if f["where"] == RECORD]
    assert len(found) == len(words), found
    assert all(word in message for word, message in zip(words, found, strict=True)), found


def test_files_that_no_digest_lists_are_named(original, tmp_path, podium_json):
    place = tmp_path / "result"
    shutil.copytree(original, place)
    (place / "attempts/004").mkdir()
    (place / "attempts/004/attempt.json").write_text("{}")
    found = {(f["rule"], f["where"]) for f in podium_json("review", place)[1]["findings"]}
    assert ("review.sums", "attempts/004/attempt.json") in found
    (place / "SHA256SUMS").unlink()
    found = {(f["rule"], f["where"]) for f in podium_json("review", place)[1]["findings"]}
    assert ("review.sums", "SHA256SUMS") in found


@pytest.mark.skipif(not CASES.exists(), reason="the cases are not here")
def test_the_case(podium_json):
    """Log, score and digests halved in agreement; attempt.json and the pod's log left as written."""
    (place,) = CASES.glob("22-*/edited")
    found = [(f["where"], f["message"]) for f in podium_json("review", place)[1]["findings"]]
    for number in range(1, 6):
        folder = f"attempts/{number:03}"
        record = [text for where, text in found if where == f"{folder}/attempt.json"]
        assert any("timeToTrainSeconds is" in text and "in result.json" in text for text in record)
        assert any("evaluations[0].seconds is" in text and "in result.txt" in text for text in record)
        assert any("MLPerf lines that the pod printed are not in result.txt" in text for where, text in found
                   if where == f"{folder}/logs/pod-0.log.gz")  # fmt: skip
