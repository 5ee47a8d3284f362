"""The administrator's settings for all training pods."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from podium.api import BenchmarkRunSpec, Model, Submission
from podium.launch.policy import Allow, secret_refusals
from podium.launch.stage import StageDefaults


class PodDefaults(Model):
    """The administrator's additions to every training pod (Helm: ``trainer.pod``).

    A run cannot set these: RDMA devices, the host network, NCCL variables, node disks. Fields with the same name as in
    a pod are copied as they are.
    """

    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    env: tuple[dict[str, Any], ...] = ()
    volumes: tuple[dict[str, Any], ...] = ()
    volume_mounts: tuple[dict[str, Any], ...] = ()
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: tuple[dict[str, Any], ...] = ()
    image_pull_secrets: tuple[dict[str, str], ...] = ()
    resources: dict[str, dict[str, str]] = Field(default_factory=dict)
    security_context: dict[str, Any] = Field(default_factory=dict)  # of the container, overrides the restricted default
    pod_security_context: dict[str, Any] = Field(default_factory=dict)
    host_network: bool = False
    priority_class_name: str | None = None
    runtime_class_name: str | None = None
    scheduler_name: str | None = None


class NetworkDefaults(Model):
    """The NetworkPolicy of each run (Helm: ``networkPolicy.trainers``). Peers and rules are as in a NetworkPolicy."""

    enabled: bool = False
    dns: tuple[dict[str, Any], ...] = ()  # peers that answer DNS
    extra_egress: tuple[dict[str, Any], ...] = ()


class TrainerDefaults(Model):
    """The administrator's launch defaults."""

    image: str = Field(default="podium-trainer:latest", description="Image of the reference trainers.")
    image_pull_policy: str | None = None
    pod: PodDefaults = PodDefaults()
    stage: StageDefaults = StageDefaults()
    allow: Allow = Allow()
    secrets: dict[str, tuple[dict[str, Any], ...]] = Field(
        default_factory=dict, description="Variables, as in a pod, by the name that template.secrets uses."
    )
    submission: Submission = Field(default=Submission(), description="Of runs that name no submitter, or no status.")
    topology_key: str | None = Field(default=None, description="Pods prefer one domain of this node label.")
    app_armor: bool = Field(default=False, description="A kubelet without AppArmor rejects pods that ask for it.")
    share_nodes: bool = Field(default=False, description="Allow several pods of a try on a node, for trials.")
    max_runs_per_namespace: int = Field(default=0, ge=0, description="0: any number.")
    network: NetworkDefaults = NetworkDefaults()

    def refusal(self, namespace: str, spec: BenchmarkRunSpec) -> str:
        """Return what `spec` asks for without being allowed to; empty if nothing."""
        refusals = [
            *self.allow.refusals(namespace, spec, own_images=(self.image,)),
            *secret_refusals(spec.template, self.secrets),
            *self._other_nodes(spec),
            *filter(None, [self.stage.refusal(spec)]),
        ]
        return "; ".join(refusals)

    def _other_nodes(self, spec: BenchmarkRunSpec) -> Iterator[str]:
        """Yield what would take the pods off the administrator's nodes."""
        for key, value in self.pod.node_selector.items():
            if spec.template.node_selector.get(key, value) != value:
                yield f"spec.template.nodeSelector: {key!r} must be {value!r}, as the administrator set it; remove it"
