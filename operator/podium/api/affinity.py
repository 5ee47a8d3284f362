"""Affinity, as in a pod, but bounded and within the run's own namespace.

The fields ``namespaces`` and ``namespaceSelector`` of Kubernetes are left out: with them, a run could keep the pods of
other namespaces off its nodes.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from podium.api.model import Model

LabelKey = Annotated[str, Field(max_length=316, min_length=1)]
Label = Annotated[str, Field(max_length=63)]


class NodeSelectorRequirement(Model):
    """A condition on a label or field of a node."""

    key: LabelKey
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    values: tuple[Annotated[str, Field(max_length=253)], ...] = Field(default=(), max_length=64)


class NodeSelectorTerm(Model):
    """Conditions that a node must all meet."""

    match_expressions: tuple[NodeSelectorRequirement, ...] = Field(default=(), max_length=16)
    match_fields: tuple[NodeSelectorRequirement, ...] = Field(default=(), max_length=16)


class NodeSelector(Model):
    """Terms of which a node must meet one."""

    node_selector_terms: tuple[NodeSelectorTerm, ...] = Field(min_length=1, max_length=16)


class PreferredNodes(Model):
    """A term that attracts a pod."""

    weight: int = Field(ge=1, le=100)
    preference: NodeSelectorTerm


class NodeAffinity(Model):
    """On which nodes the pods run."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = None
    preferred_during_scheduling_ignored_during_execution: tuple[PreferredNodes, ...] = Field(default=(), max_length=16)


class LabelSelectorRequirement(Model):
    """A condition on a label of a pod."""

    key: LabelKey
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[Label, ...] = Field(default=(), max_length=64)


class LabelSelector(Model):
    """Conditions that a pod must all meet."""

    match_labels: dict[LabelKey, Label] = Field(default_factory=dict, max_length=16)
    match_expressions: tuple[LabelSelectorRequirement, ...] = Field(default=(), max_length=16)


class PodAffinityTerm(Model):
    """Pods of the run's namespace, and how near is near."""

    label_selector: LabelSelector | None = None
    topology_key: LabelKey


class WeightedPodAffinityTerm(Model):
    """A term that attracts or repels a pod."""

    weight: int = Field(ge=1, le=100)
    pod_affinity_term: PodAffinityTerm


class PodAffinity(Model):
    """Near which pods the pods run, or away from which."""

    required_during_scheduling_ignored_during_execution: tuple[PodAffinityTerm, ...] = Field(default=(), max_length=16)
    preferred_during_scheduling_ignored_during_execution: tuple[WeightedPodAffinityTerm, ...] = Field(
        default=(), max_length=16
    )


class Affinity(Model):
    """As in a pod, without terms that reach into other namespaces."""

    node_affinity: NodeAffinity | None = None
    pod_affinity: PodAffinity | None = None
    pod_anti_affinity: PodAffinity | None = None
