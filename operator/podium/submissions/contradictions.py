"""Compare the files of a result of Podium's with each other: what one of them says, the others must say as well.

Whoever changes a log and the digests leaves traces elsewhere: what was parsed from it, what its pod printed, when the
operator saw it, what the score was made of.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from pydantic.alias_generators import to_camel

from podium.api import GROUP, KIND, VERSION, AttemptState, AttemptStatus, BenchmarkRunSpec, Reason, TryId
from podium.documents import DocumentError, LimitError, read_json, read_yaml
from podium.mllog import LogSummary
from podium.reconcile import measured, score_run
from podium.results.schema import ATTEMPT_SCHEMA, RESULT_SCHEMA, logged, measure_document
from podium.results.writer import NOT_SEALED, SUMS
from podium.rounds import load_rounds
from podium.rules import Finding, Goal, Verdict, check_spec, goal_for
from podium.rules.catalog import RuleId
from podium.stores import StoreError, digest, document_bytes, read_sums
from podium.submissions.differences import differences, mapping, number, read_sightings, read_status, shown
from podium.submissions.package import ReviewedResult
from podium.submissions.printed import Known, compare_logs
from podium.submissions.seen import about_pods, about_seen, is_early
from podium.submissions.tree import read_log, with_round

_REMEDY = "one of them was changed: ask for the originals"
# What follows from the log alone
_BY_THE_LOG = frozenset({
    Reason.TARGET_REACHED, Reason.QUALITY_NOT_REACHED, Reason.RUN_ABORTED, Reason.EVAL_RESULT_MISSING,
    Reason.RUN_START_MISSING, Reason.RUN_STOP_MISSING, Reason.INIT_TOO_LONG, Reason.BENCHMARK_MISMATCH,
    Reason.RATE_MEASURED, Reason.RATE_UNKNOWN,
})  # fmt: skip
_SCORE = (
    "timeToTrainMinutes", "rate", "valid", "official", "dropped", "designated", "coefficientOfVariation",
    "energyJoules", "cost", "tries",
)  # fmt: skip
_ADDED = ("designated", "tries")  # that the first results do not have
_OF_A_TRY = AttemptStatus.model_json_schema(by_alias=True)["properties"].keys() - {"stored"}
_LAYOUT = re.compile(
    r"(run\.yaml|(system|result)\.json|report\.html|attempts/\d{3,9}/(tries/\d{1,9}/)?"
    r"(attempt\.json|result(\.[0-9a-f]{8})?\.txt|logs/[^/]+\.gz))"
)

_Document = Mapping[str, Any]


def contradictions(part: ReviewedResult) -> Iterator[Finding]:
    """Yield what the files of one result contradict each other in. Raises StoreError."""
    if part.folder.result:
        case = _Case(part)
        yield from case.files()
        yield from case.documents()
        yield from case.score()
        tries = [_Try(case, id_) for id_ in sorted(case.listed.keys() | case.stored.keys())]
        for one in tries:
            yield from one.findings()
        yield from _nodes(case, tries)


def _nodes(case: _Case, tries: Sequence[_Try]) -> Iterator[Finding]:
    """Compare the nodes in system.json with those where pods ran, as far as both are known."""
    listed = case.document("system.json").get("nodesSeen")
    seen = {str(node.get("name")) for node in (listed if isinstance(listed, list) else ()) if isinstance(node, dict)}
    ran = {str(pod["node"]) for one in tries for pod in one.pods if pod.get("node")}
    complete = case.spec and all(len(one.pods) == case.spec.system.nodes for one in tries)
    if ran and seen and (not ran & seen or (complete and seen - ran)):
        message = f"nodesSeen has {', '.join(sorted(seen))}; the pods ran on {', '.join(sorted(ran))}"
        yield case.finding("system.json", message)


class _Case:
    """One result: what is in its folder, and what its documents say."""

    def __init__(self, part: ReviewedResult) -> None:
        self.part, self.store, self.result = part, part.store, part.folder.result
        below = part.folder.key("").rstrip("/")
        prefix = f"{below}/" if below else ""
        self.keys = frozenset(key.removeprefix(prefix) for key in part.store.list(prefix))
        self.listed: dict[TryId, _Document] = {TryId(a["index"], a["try"]): a for a in part.folder.tries}
        self.stored: dict[TryId, str] = {}  # the folder of each try
        for key in sorted(key for key in self.keys if key.endswith("/attempt.json")):
            document = self.document(key)
            index, number = document.get("index"), document.get("try")
            if isinstance(index, int) and isinstance(number, int):
                self.stored[TryId(index, number)] = key.removesuffix("/attempt.json")
        self.last = {TryId(index, one["try"]) for index, one in part.folder.last_tries.items()}

    def where(self, name: str) -> str:
        return self.part.folder.key(name)

    def finding(self, name: str, message: str, remedy: str = _REMEDY) -> Finding:
        return Finding(RuleId.REVIEW_CONTRADICTION, self.where(name), message, remedy=remedy)

    def document(self, name: str) -> _Document:
        """Return a JSON object of the result; an empty one if it is missing or something else."""
        if name not in self.keys:
            return {}
        try:
            found = read_json(document_bytes(self.store, self.where(name)), name)
        except (DocumentError, StoreError):
            return {}
        return found if isinstance(found, dict) else {}

    @cached_property
    def run(self) -> _Document:
        """run.yaml; an empty one if it cannot be read, which `review` reports."""
        try:
            (document,) = read_yaml(document_bytes(self.store, self.where("run.yaml")), "run.yaml")
        except (StoreError, ValueError):
            return {}
        return document if isinstance(document, dict) else {}

    @cached_property
    def spec(self) -> BenchmarkRunSpec | None:
        try:
            spec = BenchmarkRunSpec.model_validate(with_round(self.run["spec"]))
        except (ValueError, KeyError, TypeError):
            return None
        return None if check_spec(spec, load_rounds()) else spec

    @cached_property
    def goal(self) -> Goal | None:
        return goal_for(self.spec, load_rounds()) if self.spec else None

    def files(self) -> Iterator[Finding]:
        """Report files that SHA256SUMS does not list; `review` compares those that it lists."""
        for name in sorted(self.keys):
            if not (name.startswith(NOT_SEALED) or _LAYOUT.fullmatch(name)):
                remedy = "remove it, or ask who has added it"
                yield Finding(RuleId.REVIEW_SUMS, self.where(name), "is not a file of a result", remedy=remedy)
        if SUMS not in self.keys:
            yield Finding(RuleId.REVIEW_SUMS, self.where(SUMS), "is missing", remedy="restore the original")
            return
        try:
            known = {name for _, name in read_sums(self.store, self.where(SUMS))}
        except LimitError:
            return  # `review` reports it
        for name in sorted(self.keys - known):
            if _LAYOUT.fullmatch(name) and name != "report.html":
                message = f"was added after the result was written: {SUMS} does not list it"
                yield Finding(RuleId.REVIEW_SUMS, self.where(name), message, remedy="remove it")

    def documents(self) -> Iterator[Finding]:
        """Compare result.json with run.yaml and system.json."""
        result, spec = self.result, self.spec
        schema = {"schema": result.get("schema")}
        yield from self.differences("result.json", schema, "every result.json", {"schema": RESULT_SCHEMA})
        system = self.document("system.json")
        if not system:
            yield self.finding("system.json", "is missing or cannot be read", remedy="restore the original")
        claimed = {"system": mapping(result.get("system"))}
        there = {"system": {key: value for key, value in system.items() if key != "nodesSeen"}}
        yield from self.differences("system.json", there, "result.json", claimed, part="system")
        if spec is None or self.goal is None:
            return
        kind = {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND}
        yield from self.differences("run.yaml", {key: self.run.get(key) for key in kind}, "every result", kind)
        ours = {
            "run": {"name": self._metadata("name"), "namespace": self._metadata("namespace")},
            "round": spec.round,
            "benchmark": spec.benchmark,
            "division": spec.division,
            "preset": spec.preset,
            "measure": measure_document(spec),
            "system": spec.system.model_dump(by_alias=True),
            "target": dict(self.goal.targets),
        }
        theirs = {key: result.get(key) for key in ours}
        theirs["run"] = {key: mapping(result.get("run")).get(key) for key in ("name", "namespace")}
        yield from self.differences("run.yaml", ours, "result.json", theirs)

    def _metadata(self, name: str) -> object:
        return mapping(self.run.get("metadata")).get(name)

    def differences(
        self, one: str, ours: _Document, other: str, theirs: _Document, part: str = ""
    ) -> Iterator[Finding]:
        """Report the first difference between what two files say, and how many more there are."""
        found = list(differences(ours.get(part) if part else ours, theirs.get(part) if part else theirs, part))
        if found:
            place, a, b = found[0]
            more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            yield self.finding(one, f"{place} is {shown(a)} here, {shown(b)} in {other}{more}")

    def score(self) -> Iterator[Finding]:
        """Compare the score with the attempts that result.json lists, and their numbers with each other."""
        for index in sorted({id_.attempt for id_ in self.listed}):
            numbers = sorted(id_.number for id_ in self.listed if id_.attempt == index)
            if numbers != list(range(len(numbers))):
                yield self.finding("result.json", f"the tries of attempt {index} are numbered {numbers}")
        score, outcome = mapping(self.result.get("score")), self.result.get("outcome")
        attempts = [status for one in self.listed.values() if (status := read_status(one))]
        if self.spec is None or self.goal is None or len(attempts) != len(self.listed):
            return
        if len({id_.attempt for id_ in self.listed}) > self.goal.attempts:
            yield self.finding("result.json", f"lists more attempts than the {self.goal.attempts} of run.yaml")
        made = score_run(self.spec, attempts, self.goal, load_rounds()).model_dump(mode="json", by_alias=True)
        ours = {key: score.get(key) for key in _SCORE if key not in _ADDED or key in score}
        yield from self.differences(
            "result.json", {"score": ours}, "its attempts", {"score": {k: made[k] for k in ours}}
        )
        failed = outcome in ("Failed", "Aborted")
        if not failed and not (outcome == "Complete" and made["valid"] and not self.result.get("message")):
            message = f"the outcome is {shown(outcome)}, and the message {shown(self.result.get('message'))}"
            yield self.finding("result.json", f"{message}; the score is {'' if made['valid'] else 'not '}valid")


class _Try:
    """One try: its record, its log, and what result.json lists of it."""

    def __init__(self, case: _Case, id_: TryId) -> None:
        self.case, self.id = case, id_
        self.listed = case.listed.get(id_, {})
        self.folder = case.stored.get(id_, "")
        self.name = f"{self.folder}/attempt.json"
        self.record = case.document(self.name) if self.folder else {}

    def findings(self) -> Iterator[Finding]:
        case, last = self.case, self.id in self.case.last
        folder = f"attempts/{self.id.attempt:03}" + ("" if last else f"/tries/{self.id.number}")
        if not self.listed:
            yield case.finding(self.name, f"result.json does not list {self.id}")
            return
        if self.folder != folder:
            what = f"is in {self.folder}" if self.folder else "is missing"
            yield case.finding(f"{folder}/attempt.json", f"{what}; result.json lists {self.id}")
        if not self.record:
            return
        yield from self._against_result()
        yield from self._files()
        log = f"{self.folder}/result.txt"
        if log not in case.keys:
            yield case.finding(log, "is missing", remedy="restore the original")
            return
        summary = self._summary(log)
        yield from self._against_log("result.txt", summary)
        yield from self._seen(summary)
        yield from self._pods(summary)
        logs = f"{self.folder}/logs/pod-0.log.gz"
        if logs in case.keys:
            for message in compare_logs(case.store, case.where(logs), case.where(log), self._known()):
                yield case.finding(logs, message)

    def _known(self) -> Known:
        cut = any("rank 0's log" in text or "rank 0 printed" in text for text in self.noted)
        return Known(number(self.rank0.get("started")), read_sightings(self.seen), cut=cut)

    @property
    def seen(self) -> _Document:
        return mapping(self.record.get("seen"))

    @property
    def noted(self) -> list[str]:
        """What attempt.json says is odd about the evidence."""
        found = self.record.get("findings")
        return [str(each) for each in found] if isinstance(found, list) else []

    @property
    def has_fewer_lines(self) -> bool:
        """Whether it says that an earlier process stored a longer log than the one that the record was made of."""
        return any(text.startswith("result.txt was stored before, ") for text in self.noted)

    @property
    def pods(self) -> list[_Document]:
        listed = self.record.get("pods")
        return [pod for pod in (listed if isinstance(listed, list) else ()) if isinstance(pod, dict)]

    @property
    def rank0(self) -> _Document:
        return next((pod for pod in self.pods if pod.get("nodeIndex") == 0), {})

    def _summary(self, log: str) -> LogSummary:
        """Return the summary of the try's log; that of the attempt was read before."""
        entry, index = self.case.part.entry, self.id.attempt
        read = index in entry.logs and self.id in self.case.last
        return entry.logs[index] if read else read_log(self.case.store, self.case.where(log)).summary

    def _against_result(self) -> Iterator[Finding]:
        case = self.case
        ours = {key: self.record.get(key) for key in {*self.listed, *_OF_A_TRY}}
        yield from case.differences(self.name, ours, "result.json", self.listed)
        schemas = {"schema": self.record.get("schema")}, {"schema": ATTEMPT_SCHEMA}
        yield from case.differences(self.name, schemas[0], "every attempt.json", schemas[1])
        yield from case.differences(
            self.name, {"run": self.record.get("run")}, "result.json", {"run": case.result.get("run")}
        )

    def _files(self) -> Iterator[Finding]:
        """Compare the files beside the record with the digests in it, in both directions."""
        case, listed = self.case, self.record.get("files")
        if not isinstance(listed, dict):
            return  # before 0.1.0, records had none
        prefix = f"{self.folder}/"
        there = {key.removeprefix(prefix) for key in case.keys if key.startswith(prefix)} - {"attempt.json"}
        there -= {name for name in there if name.startswith("tries/")}
        for name in sorted(there ^ listed.keys()):
            what = "does not list it" if name in there else "lists it, and it is missing"
            yield case.finding(f"{prefix}{name}", f"attempt.json {what}")
        for name in sorted(there & listed.keys()):
            if digest(case.store, case.where(f"{prefix}{name}")) != listed[name]:
                yield case.finding(f"{prefix}{name}", "is not the file whose digest attempt.json has")

    def _against_log(self, log: str, summary: LogSummary) -> Iterator[Finding]:
        """Compare what the record repeats of the log with the log."""
        case, record = self.case, self.record
        made = logged(summary)
        if "rate" not in mapping(record.get("log")):
            del made["log"]["rate"]  # records of before 0.1.0 have none
        if self.has_fewer_lines:
            yield from self._fewer(log, made)
        else:
            yield from case.differences(self.name, {key: record.get(key) for key in made}, log, made)
        verdict = case.part.entry.verdicts.get(self.id.attempt) if self.id in case.last else None
        status = read_status(self.listed)
        if case.goal is None or status is None or (self.has_fewer_lines and status.state != AttemptState.CONVERGED):
            return
        yield from self._measured(status, summary, case.goal, log)
        if verdict:
            yield from self._verdict(status, verdict, log)

    def _fewer(self, log: str, made: _Document) -> Iterator[Finding]:
        """Report an evaluation that a record of fewer lines has and the log has not."""
        listed = self.record.get("evaluations")
        there = [(one["epoch"], one["quality"]) for one in made["evaluations"]]
        for one in map(mapping, listed if isinstance(listed, list) else ()):
            if (one.get("epoch"), one.get("quality")) not in there:
                other = f"an evaluation of {shown(one.get('quality'))}, which is not in it"
                yield self.case.finding(self.name, f"is of fewer lines than {log}, but has {other}")
                return

    def _measured(self, status: AttemptStatus, summary: LogSummary, goal: Goal, log: str) -> Iterator[Finding]:
        """Compare the measurements in the status with the log, which may have grown after the try was judged by
        something else."""
        if Reason.known(status.reason) not in _BY_THE_LOG:
            shown_ = {goal.render(summary, evaluation)[:64] for evaluation in summary.evaluations}
            if status.quality and status.quality not in shown_:
                yield self.case.finding(self.name, f"the quality {status.quality} is none of those in {log}")
            return
        again = measured(status, summary, goal)
        for key in ("start_time", "quality", "epochs", "energy_joules", "time_to_train_seconds"):
            claimed, right = getattr(status, key), getattr(again, key)
            if claimed != right and not (key == "time_to_train_seconds" and claimed is None):
                yield self.case.finding(self.name, f"{to_camel(key)} is {shown(claimed)} here, {shown(right)} by {log}")

    def _verdict(self, status: AttemptStatus, verdict: Verdict, log: str) -> Iterator[Finding]:
        claimed = Reason.known(status.reason)
        if claimed is None or claimed.state != status.state:
            message = f"the state {status.state} does not belong to the reason {shown(status.reason)}"
            yield self.case.finding(self.name, message)
        elif claimed in _BY_THE_LOG and claimed is not verdict.reason:
            message = f"reason is {claimed} here, {verdict.reason} by {log}: {verdict.message}"
            yield self.case.finding(self.name, message)

    def _seen(self, summary: LogSummary) -> Iterator[Finding]:
        seen = about_seen(
            self.seen, summary, self.listed.get("state"), "result.txt", of_fewer_lines=self.has_fewer_lines
        )
        for rule, message in seen:
            yield Finding(rule, self.case.where(self.name), message, remedy=_REMEDY)
        for message in about_pods(self.pods, self.seen):
            yield self.case.finding(self.name, message)

    def _pods(self, summary: LogSummary) -> Iterator[Finding]:
        """Compare the log with the life of rank 0's container, and the pods with the system."""
        case, pods, rank0 = self.case, self.pods, self.rank0
        if self.listed.get("state") != AttemptState.CONVERGED:
            return
        wanted = case.spec.system.nodes if case.spec else len(pods)
        indices = sorted(str(pod.get("nodeIndex")) for pod in pods)
        if indices != sorted(map(str, range(wanted))):
            yield case.finding(self.name, f"has pods {', '.join(indices) or 'none'}; run.yaml wants {wanted} nodes")
        nodes = [node for pod in pods if (node := pod.get("node"))]  # of a cluster: a local run has none
        if (different := len(set(map(str, nodes)))) < len(nodes):
            yield case.finding(self.name, f"its {len(nodes)} pods ran on {different} nodes; run.yaml wants {wanted}")
        started, finished = rank0.get("started"), rank0.get("finished")
        start, stop = summary.run_start, summary.run_stop
        if is_early(start, started) or is_early(finished, stop):
            message = f"the container of rank 0 ran from {started} to {finished}, the log says {start} to {stop}"
            yield case.finding(self.name, message)
        images = {pod.get("imageID") for pod in pods} - {None, ""}
        pinned = mapping(case.result.get("pinned")).get("imageDigest")
        if pinned and images and not all(str(image).endswith(str(pinned)) for image in images):
            yield case.finding(self.name, f"ran {', '.join(map(str, images))}; result.json has {pinned}")
        ranks = case.spec.system.nodes * case.spec.system.processes_per_node if case.spec else None
        if summary.ranks and ranks and summary.ranks != ranks:
            yield case.finding("system.json", f"has {ranks} ranks, the log of {self.id} says {summary.ranks}")
