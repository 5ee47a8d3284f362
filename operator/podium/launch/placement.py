"""Where the pods of a try run: one on a node, near each other, and not where two tries have failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from podium.api import AttemptStatus, FailureClass

_FAILURES = 2  # of tries of one run, after which its later tries avoid a node
_MOST_AVOIDED = 64
_HOSTNAME = "kubernetes.io/hostname"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
# Reasons of failures that another node would not change: the scheduler or a person took the pod, or the image is bad
_NOT_THE_NODE = frozenset(
    {
        "PreemptionByScheduler",
        "PreemptionByKubeScheduler",
        "EvictionByEvictionAPI",
        "Suspended",
        "Deleted",
        "Unschedulable",
        "ErrImagePull",
        "ImagePullBackOff",
        "RegistryUnavailable",
        "InvalidImageName",
        "ErrImageNeverPull",
        "CreateContainerConfigError",
        "StageFailed",
        "StageInterrupted",
    }
)


def nodes_to_avoid(attempts: Sequence[AttemptStatus]) -> tuple[str, ...]:
    """Return the nodes on which two tries of a run have failed for a reason that may lie with the node."""
    failures = ((attempt.failure, attempt.reason) for attempt in attempts)
    nodes = Counter(
        failure.node
        for failure, reason in failures
        if failure
        and failure.node
        and failure.class_ is not FailureClass.PROGRAM
        and not {failure.reason, reason} & _NOT_THE_NODE
    )
    return tuple(sorted(node for node, count in nodes.most_common(_MOST_AVOIDED) if count >= _FAILURES))


def one_per_node(labels: dict[str, str], nodes: int) -> list[dict[str, Any]]:
    """Return the topologySpreadConstraints that allow one of the `nodes` pods with `labels` on a node.

    While fewer than `minDomains` nodes have one, the least occupied node counts as empty, so a skew of 1 is one pod.
    Unlike a required anti-affinity, a spread is no work for the scheduler with pods other than these.
    """
    if nodes == 1:
        return []
    return [
        {
            "maxSkew": 1,
            "minDomains": nodes,
            "topologyKey": _HOSTNAME,
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": labels},
        }
    ]


def affinity(
    own: dict[str, Any], labels: dict[str, str], *, avoid: Sequence[str], topology_key: str | None
) -> dict[str, Any]:
    """Return the run's `own` affinity, plus nodes to `avoid`, plus a preference for one domain of `topology_key`."""
    result = dict(own)
    if avoid:
        node = dict(result.get("nodeAffinity") or {})
        terms = (node.get(_REQUIRED) or {}).get("nodeSelectorTerms") or [{}]
        # a requirement on this field takes one value; those of a term must all be met
        away = [{"key": "metadata.name", "operator": "NotIn", "values": [name]} for name in avoid]
        terms = [{**term, "matchFields": [*term.get("matchFields", ()), *away]} for term in terms]
        result["nodeAffinity"] = {**node, _REQUIRED: {"nodeSelectorTerms": terms}}
    if topology_key:
        pod = dict(result.get("podAffinity") or {})
        term = {"topologyKey": topology_key, "labelSelector": {"matchLabels": labels}}
        near = {"weight": 100, "podAffinityTerm": term}
        result["podAffinity"] = {**pod, _PREFERRED: [*pod.get(_PREFERRED, ()), near]}
    return result
