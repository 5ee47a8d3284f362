"""What runs have to survive: an operator that restarts, logs that rotate, a store that fails, odd programs and pods.

Each test is a scenario with its own namespace and operator. All of them start with the first and run at once, since
they mostly wait.
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.cluster.faults import SlowRelay
from tests.cluster.fixtures import ROOT, Kubectl, kubectl_for
from tests.cluster.images import trainer_defaults
from tests.cluster.node import NODE_IP
from tests.cluster.parts import REGION, S3, Operator, until
from tests.cluster.scenarios import Scenario, selected
from tests.e2e.programs import benchmark_run, training
from tests.e2e.run_queries import Bucket, attempts, condition, ended, get, wait_for

pytestmark = pytest.mark.timeout(600)
INIT_SECONDS = 20
DOWN_SECONDS = 120


@dataclass(frozen=True)
class Place:
    """A namespace, an operator that watches it, and the store of that operator."""

    kubectl: Kubectl
    namespace: str
    operator: Operator
    s3: S3

    def apply(self, *runs: dict) -> None:
        for run in runs:
            self.kubectl("-n", self.namespace, "apply", "-f", "-", stdin=run)

    def wait(self, name: str, what: str, check: Callable[[dict], bool], seconds: float) -> dict:
        return wait_for(self.kubectl, self.namespace, name, what, check, seconds)

    def log(self, run: str, *words: str) -> str:
        return self.kubectl("-n", self.namespace, "logs", "-l", f"podium.dev/run={run}", "--tail=-1", *words)

    def stored(self, run: dict) -> Bucket:
        """The stored result, complete."""
        bucket = Bucket(self.s3, run["status"]["result"]["uri"])
        assert bucket.verify() == run["status"]["result"]["sha256"]
        return bucket


@contextmanager
def place(kubeconfig: Path, folder: Path, name: str, store: S3, *options: str) -> Iterator[Place]:
    kubectl, namespace = kubectl_for(kubeconfig), f"podium-{name}"
    folder.mkdir()
    kubectl("create", "namespace", namespace)
    defaults = folder / "trainer-defaults.yaml"
    defaults.write_text(yaml.safe_dump(trainer_defaults(ROOT)))
    words = ["--results-url", store.bucket(namespace), "--results-endpoint", store.endpoint]
    words += ["--results-region", REGION, "--namespace", namespace, "--trainer-defaults", str(defaults), *options]
    operator = Operator(kubeconfig, folder, words, store.environment)
    try:
        yield Place(kubectl, namespace, operator, store)
    finally:
        operator.stop()
        kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.fixture(scope="module")
def scenarios(
    request: pytest.FixtureRequest, kubeconfig: Path, s3: S3, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Scenario]:
    """Those that were selected, started."""
    folder = tmp_path_factory.mktemp("scenarios")

    def start(act: Callable[[Place], None]) -> Scenario:
        name = act.__name__.replace("_", "-")

        def run() -> None:
            results = store(folder / f"s3-{name}") if act in OWN_STORE else nullcontext(s3)
            with results as its_store, place(kubeconfig, folder / name, name, its_store) as here:
                act(here)

        return Scenario(run)

    chosen = selected(request, "act")
    return {act.__name__: start(act) for act in SCENARIOS if act in chosen}


@contextmanager
def store(folder: Path) -> Iterator[S3]:
    server = S3(folder, NODE_IP)
    try:
        server.start()
        yield server
    finally:
        server.remove()


def three_restarts(here: Place) -> None:
    """Attempts that are older than `deadlines.init` when the operator starts: six at once, with time to be killed."""
    names = [f"steady-{number}" for number in range(6)]
    deadlines = {"pending": "2m", "init": f"{INIT_SECONDS}s", "run": "10m"}
    here.operator.start()
    here.apply(*(benchmark_run(name, training(100), deadlines=deadlines) for name in names))
    for name in names:
        here.wait(name, f"{name} trains", trains, 90)
    time.sleep(INIT_SECONDS)
    for pause in (0, 5, 1):
        here.operator.kill()
        time.sleep(pause)
        here.operator.start()
        time.sleep(6)
        for name in names:
            run = get(here.kubectl, here.namespace, name)
            assert attempts(run) in ([(1, 0, "Training", None)], [(1, 0, "Converged", "TargetReached")]), run["status"]
    for name in names:
        run = here.wait(name, f"{name} has ended", ended, 120)
        assert [a[:3] for a in attempts(run)] == [(1, 0, "Converged")], run["status"]
        printed = here.log(name)
        stored = here.stored(run)
        stamped = gzip.decompress(stored.read("attempts/001/logs/pod-0.log.gz")).decode().splitlines(keepends=True)
        assert "".join(line.partition(" ")[2] for line in stamped) == printed
        assert stored.read("attempts/001/result.txt").decode() == printed


def rotation(here: Place) -> None:
    """11 MiB after run_start and the first evaluations; then the operator starts again, and sees the rest alone."""
    noise = """
ml("run_start")
ml("eval_accuracy", 0.5, epoch_num=1)
for row in range(11 << 10): print(f"{row:07} " + "x" * 1015)
ml("eval_accuracy", 0.6, epoch_num=2)
time.sleep(60)
ml("eval_accuracy", 0.95, epoch_num=3)
ml("run_stop", status="success")
time.sleep(3)
"""
    here.operator.start()
    here.apply(benchmark_run("chatty", noise))
    here.wait("chatty", "it trains", trains, 90)

    def rotated() -> bool:
        return '"value": 0.5' not in here.log("chatty")  # in a file that the kubelet does not serve any more

    def saved() -> bool:
        folder = Bucket(here.s3, f"s3://{here.namespace}/{here.namespace}")
        checkpoints = [key for key in folder.files() if "/checkpoints-" in key]
        return any(b'"value": 0.6' in folder.read(key) for key in checkpoints)

    until(rotated, 60, "the kubelet has rotated the log", every=1)
    until(saved, 30, "what was read of it is saved")  # within 5 s, once the operator has read 11 MiB
    here.operator.kill()
    here.operator.start()
    run = here.wait("chatty", "it has ended", ended, 120)
    assert [a[:3] for a in attempts(run)] == [(1, 0, "Converged")], run["status"]
    lines = here.stored(run).read("attempts/001/result.txt").decode().splitlines()
    found = [(line["key"], line["value"]) for line in (json.loads(line.removeprefix(":::MLLOG ")) for line in lines)]
    evaluations = [("eval_accuracy", 0.5), ("eval_accuracy", 0.6), ("eval_accuracy", 0.95)]
    assert found == [("run_start", None), *evaluations, ("run_stop", None)]


def store_down(here: Place) -> None:
    """Two minutes without a store, through an attempt's end and a restart."""
    here.operator.start()
    here.apply(benchmark_run("outage", training(10), attempts=2))
    here.wait("outage", "it trains", trains, 90)
    here.s3.stop()
    began = time.monotonic()
    reported = lambda run: condition(run, "ResultStored").get("reason") == "StoreUnavailable"  # noqa: E731
    run = here.wait("outage", "the outage is reported", reported, 100)
    assert not ended(run)
    here.operator.kill()
    here.operator.start()
    time.sleep(max(0, DOWN_SECONDS - (time.monotonic() - began)))
    assert not ended(get(here.kubectl, here.namespace, "outage"))
    here.s3.start()
    complete(here, "outage", attempts_=2)


def store_denies(here: Place) -> None:
    """403 to every write, until the administrator has corrected the policy."""
    here.operator.start()
    here.apply(benchmark_run("denied", training(10), attempts=2))
    here.wait("denied", "it trains", trains, 90)
    with here.s3.read_only():
        denied = lambda run: "access denied" in condition(run, "ResultStored").get("message", "")  # noqa: E731
        here.wait("denied", "the refusal is reported", denied, 100)
        time.sleep(20)
    complete(here, "denied", attempts_=2)


def complete(here: Place, name: str, attempts_: int) -> None:
    """The run ends well, and nothing of it is missing in the store."""
    run = here.wait(name, f"{name} is Complete", ended, 180)
    assert condition(run, "Complete")["status"] == "True", run["status"]
    assert [a[:3] for a in attempts(run)] == [(index, 0, "Converged") for index in range(1, attempts_ + 1)]
    stored = here.stored(run)
    for index in range(1, attempts_ + 1):
        lines = stored.read(f"attempts/{index:03}/result.txt").decode().splitlines()
        assert '"run_start"' in lines[0]
        assert '"run_stop"' in lines[-1]


def store_slow(here: Place) -> None:
    """Half a second for each answer of the store, handshakes included."""
    relay = SlowRelay(NODE_IP, int(here.s3.endpoint.rpartition(":")[2]), 0.5)
    here.operator.redirect(here.s3.endpoint, f"https://{NODE_IP}:{relay.port}")
    relay.start()
    try:
        here.operator.start()
        here.apply(benchmark_run("slow", training(10), attempts=2))
        complete(here, "slow", attempts_=2)
    finally:
        here.operator.stop()
        relay.stop()


# A bar on stderr that never ends its line: the container runtime puts the next line of stdout into the same one
PROGRESS_BAR = """
ml("run_start")
for step in range(20000): sys.stderr.write("\\rpart 1: 10%|" + "#" * 20 + "| 100/1000 [loss 0.1234]")
sys.stderr.flush()
time.sleep(2)
ml("eval_accuracy", 0.95, epoch_num=1)
time.sleep(1)
ml("run_stop", status="success")
time.sleep(1)
"""
AN_HOUR_BEHIND = """
then = time.time() - 3600
ml("run_start", at=then)
time.sleep(2)
ml("eval_accuracy", 0.95, at=then + 1, epoch_num=1)
ml("run_stop", at=then + 2, status="success")
"""
NOT_A_NUMBER = """
ml("run_start")
for epoch in (1, 2, 3): ml("eval_accuracy", float("nan"), epoch_num=epoch)
ml("run_stop", status="aborted")
"""
CONTROL_CHARACTERS = """
ml("run_start")
print("[/INFO] \\x1b[31mCUDA error\\x1b[0m [bold]x[/bold] \\x1b]0;title\\x07 \\u202e rtl \\x00 nul", flush=True)
sys.stdout.buffer.write(b"bytes \\xff\\xfe\\n")
sys.stdout.flush()
sys.exit(3)
"""
ODD_PROGRAMS = {  # name: the run, its state, and what its message says
    "no-program": (
        benchmark_run("no-program", "", template={"command": ["no-such-program"]}),
        "Failed",
        ["PodCannotStart", '"no-such-program": executable file not found in $PATH'],
    ),
    "bar": (benchmark_run("bar", PROGRESS_BAR), "Converged", []),
    "behind": (benchmark_run("behind", AN_HOUR_BEHIND), "Invalid", ["ClockInvalid", "clock"]),
    "nan": (benchmark_run("nan", NOT_A_NUMBER), "NotConverged", ["3 evaluations, none of which is a number"]),
    "control": (benchmark_run("control", CONTROL_CHARACTERS), "NotConverged", ["exit code 3", "CUDA error"]),
}


def odd_programs(here: Place) -> None:
    """Each ends in the state that its log deserves, with a message that names the cause."""
    here.operator.start()
    here.apply(*(run for run, _, _ in ODD_PROGRAMS.values()))
    for name, (_, state, sentences) in ODD_PROGRAMS.items():
        run = here.wait(name, f"{name} has ended", ended, 150)
        (attempt,) = run["status"]["attempts"]
        said = f"{attempt['reason']}: {attempt['message']}"
        assert attempt["state"] == state, (name, run["status"])
        assert not [part for part in sentences if part not in said], (name, said)
        assert not {c for c in str(run["status"]) if ord(c) < 32 or c in "\x9b\u202e"}, name
        here.stored(run)


SIDECAR = """
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: podium-sidecar}
spec:
  matchConstraints: {resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]}
  failurePolicy: Fail
  reinvocationPolicy: Never
  mutations:
    - patchType: JSONPatch
      jsonPatch:
        expression: >-
          [JSONPatch{op: "add", path: "/spec/containers/-", value: Object.spec.containers{name: "proxy",
          image: object.spec.containers[0].image, imagePullPolicy: "Never", command: ["sleep", "1200"]}}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: podium-sidecar}
spec: {policyName: podium-sidecar, matchResources: {namespaceSelector: {matchLabels: {podium-test: sidecar}}}}
"""


def sidecar(here: Place) -> None:
    """A mesh adds a container that does not end: it must not keep the machine of an attempt that has ended."""
    here.kubectl("apply", "-f", "-", stdin=SIDECAR)
    here.kubectl("label", "namespace", here.namespace, "podium-test=sidecar")
    here.operator.start()
    time.sleep(3)  # the API server has read the policy
    here.apply(benchmark_run("meshed", training(5), attempts=2))
    two = lambda run: len(attempts(run)) == 2  # noqa: E731
    here.wait("meshed", "the first attempt is over", two, 90)
    pods = json.loads(here.kubectl("-n", here.namespace, "get", "pods", "-o", "json"))["items"]
    assert all(len(pod["spec"]["containers"]) == 2 for pod in pods), "the policy works"
    complete(here, "meshed", attempts_=2)
    running = ("-n", here.namespace, "get", "pods", "--field-selector=status.phase=Running", "-o", "name")
    until(lambda: not here.kubectl(*running), 60, "no pod keeps a machine")


SCENARIOS = (three_restarts, rotation, store_down, store_denies, store_slow, odd_programs, sidecar)
OWN_STORE = {store_down, store_denies}


@pytest.mark.parametrize("act", SCENARIOS, ids=lambda act: act.__name__)
def test_a_run_survives(scenarios, act):
    scenarios[act.__name__].result()


def trains(run: dict) -> bool:
    return any(attempt[2] == "Training" for attempt in attempts(run))
