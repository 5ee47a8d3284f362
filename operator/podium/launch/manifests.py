"""Builds the Service and Job of a try as plain objects: pure functions, without a client library's hidden defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from podium.api import GROUP, KIND, VERSION, System, duration_seconds
from podium.launch.contract import (
    ATTEMPT_LABEL,
    DATA_DIR,
    RENDEZVOUS_PORT,
    RUN_UID_LABEL,
    SEED_ANNOTATION,
    TRY_LABEL,
    Launch,
    command,
    environment,
)
from podium.launch.defaults import NetworkDefaults, PodDefaults, TrainerDefaults
from podium.launch.placement import affinity, one_per_node
from podium.launch.stage import stage_containers, stage_folder, stage_identity, stage_volumes

CONTAINER = "trainer"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
QUEUE_PRIORITY_LABEL = "kueue.x-k8s.io/priority-class"
# An attempt whose pod is moved is lost, however full its node is. Read by the cluster autoscaler and by Karpenter.
_STAYS = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "karpenter.sh/do-not-disrupt": "true"}
_BACKSTOP_MARGIN = 900  # seconds, for an operator that is late
_LONGEST = 2**31 - 1
INDEX_FIELD = "metadata.annotations['batch.kubernetes.io/job-completion-index']"


def build_service(launch: Launch) -> dict[str, Any]:
    """Build the headless Service of a run, which resolves ``<job>-0.<service>`` to rank 0 before any pod is ready."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(launch, launch.service, _run_labels(launch)),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {RUN_UID_LABEL: launch.uid},
            "ports": [{"name": "rendezvous", "port": RENDEZVOUS_PORT}],
        },
    }


def build_network_policy(launch: Launch, network: NetworkDefaults) -> dict[str, Any]:
    """Build the policy of a run's pods: in and out among themselves, out to DNS and where the administrator allows it.

    All ports among themselves: besides the rendezvous port, NCCL and Gloo listen on ports that they choose.
    """
    same_run = {"podSelector": {"matchLabels": {RUN_UID_LABEL: launch.uid}}}
    dns_ports = [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _metadata(launch, launch.service, _run_labels(launch)),
        "spec": {
            **same_run,
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [same_run]}],
            "egress": [
                {"to": [same_run]},
                {"to": list(network.dns), "ports": dns_ports},
                *network.extra_egress,
            ],
        },
    }


def build_pod_group(launch: Launch) -> dict[str, Any]:
    """Build the PodGroup of a try, for a scheduler that places all of its pods or none."""
    return {
        "apiVersion": "scheduling.k8s.io/v1beta1",
        "kind": "PodGroup",
        "metadata": _metadata(launch, launch.job, launch.labels),
        "spec": {"schedulingPolicy": {"gang": {"minCount": launch.spec.system.nodes}}},
    }


def build_job(launch: Launch, defaults: TrainerDefaults) -> dict[str, Any]:
    """Build the Indexed Job of a try: one pod per node, never restarted, so that a try is one uninterrupted run."""
    spec = launch.spec
    job_labels = dict(launch.labels)
    if spec.queue_name:
        job_labels[QUEUE_LABEL] = spec.queue_name
        if spec.queue_priority_class:
            job_labels[QUEUE_PRIORITY_LABEL] = spec.queue_priority_class
    job: dict[str, Any] = {
        "completionMode": "Indexed",
        "completions": spec.system.nodes,
        "parallelism": spec.system.nodes,
        "backoffLimit": 0,
        "podReplacementPolicy": "Failed",
        "activeDeadlineSeconds": backstop_seconds(launch),
        "template": {
            "metadata": {
                "labels": {**defaults.pod.labels, **launch.labels},
                "annotations": {**_STAYS, **defaults.pod.annotations, **spec.template.annotations},
            },
            "spec": _pod_spec(launch, defaults),
        },
    }
    if spec.queue_name:
        job["suspend"] = True  # Kueue resumes the Job when it admits it
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            **_metadata(launch, launch.job, job_labels),
            "annotations": {SEED_ANNOTATION: str(launch.seed)},
        },
        "spec": job,
    }


def _metadata(launch: Launch, name: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """Return the metadata of an object that the run owns."""
    owner = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "name": launch.run,
        "uid": launch.uid,
        "controller": False,  # otherwise Kubernetes silently disables native gang scheduling for the Job
        "blockOwnerDeletion": False,
    }
    return {"name": name, "namespace": launch.namespace, "labels": dict(labels), "ownerReferences": [owner]}


def _run_labels(launch: Launch) -> dict[str, str]:
    """Return the labels of an object that all tries share."""
    return {key: value for key, value in launch.labels.items() if key not in (ATTEMPT_LABEL, TRY_LABEL)}


def backstop_seconds(launch: Launch) -> int:
    """Return when Kubernetes ends the Job without the operator: after all of its deadlines, counted from admission."""
    deadlines = launch.spec.deadlines
    total = duration_seconds(deadlines.init) + duration_seconds(deadlines.run) + _BACKSTOP_MARGIN
    total += _longest_wait(launch) if _staged(launch) else duration_seconds(deadlines.pending)
    return min(total, _LONGEST)  # the Job controller counts in nanoseconds, which overflow


def _pod_spec(launch: Launch, defaults: TrainerDefaults) -> dict[str, Any]:
    template, pod = launch.spec.template, defaults.pod
    nodes = launch.spec.system.nodes
    near = defaults.topology_key if nodes > 1 else None
    own = template.affinity.model_dump(mode="json", by_alias=True, exclude_defaults=True) if template.affinity else {}
    tolerations = [t.model_dump(by_alias=True, exclude_none=True) for t in template.tolerations]
    return {
        "restartPolicy": "Never",
        "subdomain": launch.service,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "fsGroup": 65532,
            "fsGroupChangePolicy": "OnRootMismatch",  # else each start changes the owner of every file of the data
            "seccompProfile": {"type": "RuntimeDefault"},
            **({"appArmorProfile": {"type": "RuntimeDefault"}} if defaults.app_armor else {}),
            **pod.pod_security_context,
        },
        **stage_identity(launch.spec, defaults.stage),
        **_given(initContainers=_init_containers(launch, defaults)),
        "containers": [_container(launch, defaults)],
        "volumes": _volumes(launch, defaults),
        **({"schedulingGroup": {"podGroupName": launch.job}} if launch.pod_group else {}),
        **({"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"} if pod.host_network else {}),
        **_given(
            nodeSelector={**template.node_selector, **pod.node_selector},
            tolerations=[*pod.tolerations, *tolerations],
            affinity=affinity(own, launch.try_labels, avoid=launch.avoid, topology_key=near),
            topologySpreadConstraints=[] if defaults.share_nodes else one_per_node(launch.try_labels, nodes),
            resourceClaims=[claim.model_dump(by_alias=True) for claim in template.resource_claims],
            priorityClassName=template.priority_class_name or pod.priority_class_name,
            runtimeClassName=pod.runtime_class_name,
            schedulerName=pod.scheduler_name,
            imagePullSecrets=[
                *pod.image_pull_secrets,
                *(secret.model_dump() for secret in template.image_pull_secrets),
            ],
        ),
    }


def _init_containers(launch: Launch, defaults: TrainerDefaults) -> list[dict[str, Any]]:
    return stage_containers(launch.spec, launch.namespace, defaults.stage) if _staged(launch) else []


def _staged(launch: Launch) -> bool:
    return launch.spec.data is not None and launch.spec.data.stage is not None


def _container(launch: Launch, defaults: TrainerDefaults) -> dict[str, Any]:
    template, pod = launch.spec.template, defaults.pod
    contract = environment(launch, master=f"{launch.job}-0.{launch.service}")
    # later entries win: the administrator's, then the run's, then the contract's, which neither can override
    env: dict[str, dict[str, Any]] = {}
    if not _has_accelerators(launch.spec.system):  # an image may ask for all devices of the node
        env["NVIDIA_VISIBLE_DEVICES"] = {"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"}
    if template.image is not None:  # that of its user, or / without one, is not for user 65532 to write
        env["HOME"] = {"name": "HOME", "value": "/tmp"}  # noqa: S108 - as in the reference trainers' image
    env |= {entry["name"]: entry for entry in pod.env}
    env |= {entry["name"]: entry for name in template.secrets for entry in defaults.secrets.get(name, ())}
    env |= {variable.name: {"name": variable.name, "value": variable.value} for variable in template.env}
    env |= {name: {"name": name, "value": value} for name, value in contract.items()}
    env["PET_NODE_RANK"] = {"name": "PET_NODE_RANK", "valueFrom": {"fieldRef": {"fieldPath": INDEX_FIELD}}}
    # a custom image without command and args runs its entrypoint
    default = command(launch) if template.image is None and not template.args else []
    if _staged(launch) and launch.spec.system.nodes > 1:  # a node with a cached copy waits for those still copying
        env["PET_RDZV_CONF"] = {"name": "PET_RDZV_CONF", "value": f"timeout={_longest_wait(launch)}"}
    mounts = [{"name": "shared-memory", "mountPath": "/dev/shm"}, *pod.volume_mounts, *_data_mounts(launch)]  # noqa: S108 - what NCCL and data loaders use
    return {
        "name": CONTAINER,
        "image": launch.image or template.image or defaults.image,
        **_given(
            imagePullPolicy=defaults.image_pull_policy,
            command=list(template.command) or default,
            args=list(template.args),
        ),
        "env": list(env.values()),
        "ports": [{"name": "rendezvous", "containerPort": RENDEZVOUS_PORT}],
        **_given(resources=_resources(launch, pod)),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            **pod.security_context,
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }


def _has_accelerators(system: System) -> bool:
    """Return whether a device plugin gives devices to the pods: Kubernetes' own resources, such as cpu, are none."""
    domain, _, _ = system.accelerator_resource.rpartition("/")
    return bool(system.accelerators_per_node and domain) and not f".{domain}".endswith(".kubernetes.io")


def _resources(launch: Launch, pod: PodDefaults) -> dict[str, Any]:
    resources: dict[str, Any] = {kind: dict(amounts) for kind, amounts in pod.resources.items()}
    if launch.spec.template.resources:
        for kind, amounts in launch.spec.template.resources.model_dump().items():
            if amounts:
                resources.setdefault(kind, {}).update({name: str(amount) for name, amount in amounts.items()})
    system = launch.spec.system
    if system.accelerators_per_node:
        resources.setdefault("limits", {})[system.accelerator_resource] = str(system.accelerators_per_node)
    if claims := launch.spec.template.resource_claims:
        resources["claims"] = [{"name": claim.name} for claim in claims]
    return resources


def _longest_wait(launch: Launch) -> int:
    """Return the maximum seconds between the starts of the first and last container of a try with staged data."""
    deadlines = launch.spec.deadlines
    return 2 * duration_seconds(deadlines.pending) + duration_seconds(deadlines.stage)


def _data_mounts(launch: Launch) -> list[dict[str, Any]]:
    data = launch.spec.data
    if data is None:
        return []
    if data.stage:
        folder = stage_folder(launch.spec, launch.namespace)
        return [{"name": "stage", "mountPath": DATA_DIR, "subPath": folder, "readOnly": True}]
    claim = data.persistent_volume_claim
    return [{"name": "data", "mountPath": DATA_DIR, "readOnly": claim.read_only}] if claim else []


def _volumes(launch: Launch, defaults: TrainerDefaults) -> list[dict[str, Any]]:
    size, data = launch.spec.template.shared_memory, launch.spec.data
    memory = {"name": "shared-memory", "emptyDir": {"medium": "Memory", **_given(sizeLimit=size)}}
    volumes = [memory, *defaults.pod.volumes]
    if data and data.stage:
        volumes += stage_volumes(launch.spec, defaults.stage)
    elif data and (claim := data.persistent_volume_claim):
        source = {"claimName": claim.claim_name, "readOnly": claim.read_only}
        volumes.append({"name": "data", "persistentVolumeClaim": source})
    return volumes


def _given(**fields: Any) -> dict[str, Any]:
    """Return the fields that have a value; empty ones would only be noise in the object."""
    return {name: value for name, value in fields.items() if value not in (None, {}, [], ())}
