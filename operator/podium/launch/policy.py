"""What a run may ask of its pods: the administrator's lists, all of them closed unless opened.

A person who may create BenchmarkRuns, and nothing else, must gain nothing else through the operator, which may create
Jobs. What every Pod under the Pod Security Standard `restricted` has is free: a command, resources, a node selector.
What reaches further (images, priority, taints, writable claims, the runtime's own variables) is listed here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from pydantic import Field

from podium.api import BenchmarkRunSpec, Model, Template
from podium.api.credentials import CREDENTIAL

# Container runtimes, their hooks and device plugins read these outside the container: they open devices that were not
# allocated, switch off the limits of shared ones, and run code of the container as root of the node (CVE-2025-23266)
RUNTIME_VARIABLES = (
    "NVIDIA_*", "*_VISIBLE_DEVICES", "HABANA_*", "ASCEND_*", "MTHREADS_*", "GPU_DEVICE_ORDINAL", "DOCKER_RESOURCE_*",
    "CUDA_DISABLE_CONTROL", "CUDA_DEVICE_MEMORY_*", "CUDA_DEVICE_SM_LIMIT", "LD_*", "GLIBC_TUNABLES",
)  # fmt: skip
_TOPOLOGY = "kueue.x-k8s.io/podset-*topology"


class Allow(Model):
    """What runs may ask for (Helm: ``trainer.allow``). ``*`` in an entry stands for any text."""

    images: tuple[str, ...] = Field(default=(), description="Beside the administrator's own.")
    image_pull_secrets: tuple[str, ...] = ()
    annotations: tuple[str, ...] = (_TOPOLOGY, "kueue.x-k8s.io/podset-slice-size")
    priority_classes: tuple[str, ...] = ()
    queue_priority_classes: tuple[str, ...] = ()
    tolerations: tuple[str, ...] = Field(default=(), description="Keys of taints.")
    writable_claims: tuple[str, ...] = Field(default=(), description="As namespace/claim.")
    resource_claim_templates: tuple[str, ...] = ()
    env: tuple[str, ...] = Field(default=(), description="Among RUNTIME_VARIABLES.")
    # any other resource would switch off the "void" that keeps an image from opening every GPU of the node:
    # nvidia.com/hostdev is a network card, gpu.intel.com/i915_monitoring is every GPU
    accelerator_resources: tuple[str, ...] = (
        "nvidia.com/gpu", "nvidia.com/gpu.shared", "nvidia.com/mig-*", "amd.com/gpu", "gpu.intel.com/i915",
        "gpu.intel.com/xe", "habana.ai/gaudi", "aws.amazon.com/neuron*", "google.com/tpu",
    )  # fmt: skip

    def refusals(self, namespace: str, spec: BenchmarkRunSpec, own_images: tuple[str, ...]) -> Iterator[str]:
        """Yield what `spec` asks for without being allowed to, each with its field, value and remedy."""
        template = spec.template
        if template.image is not None and template.image not in own_images:
            yield from self._listed("template.image", template.image, self.images, "images")
        for index, pull in enumerate(template.image_pull_secrets):
            field = f"template.imagePullSecrets[{index}].name"
            yield from self._listed(field, pull.name, self.image_pull_secrets, "imagePullSecrets")
        for name in template.annotations:
            yield from self._listed("template.annotations", name, self.annotations, "annotations")
        yield from self._priorities(spec)
        for index, toleration in enumerate(template.tolerations):
            # without a key, a toleration covers every taint
            yield from self._listed(
                f"template.tolerations[{index}].key", toleration.key or "", self.tolerations, "tolerations"
            )
        for index, claim in enumerate(template.resource_claims):
            field = f"template.resourceClaims[{index}].resourceClaimTemplateName"
            template_name = claim.resource_claim_template_name
            yield from self._listed(field, template_name, self.resource_claim_templates, "resourceClaimTemplates")
        if spec.data and (volume := spec.data.persistent_volume_claim) and not volume.read_only:
            claim_name = f"{namespace}/{volume.claim_name}"
            if not _matches(claim_name, self.writable_claims):
                yield (
                    f"spec.data.persistentVolumeClaim.readOnly: {claim_name} must be mounted read-only; remove "
                    "readOnly: false, or ask the administrator to add it to trainer.allow.writableClaims"
                )
        yield from self._variables(template)
        if spec.system.accelerators_per_node:
            resource, allowed = spec.system.accelerator_resource, self.accelerator_resources
            yield from self._listed("system.acceleratorResource", resource, allowed, "acceleratorResources")

    def _priorities(self, spec: BenchmarkRunSpec) -> Iterator[str]:
        if name := spec.template.priority_class_name:
            yield from self._listed("template.priorityClassName", name, self.priority_classes, "priorityClasses")
        if name := spec.queue_priority_class:
            yield from self._listed("queuePriorityClass", name, self.queue_priority_classes, "queuePriorityClasses")

    def _variables(self, template: Template) -> Iterator[str]:
        for index, variable in enumerate(template.env):
            if _matches(variable.name.upper(), RUNTIME_VARIABLES):
                yield from self._listed(f"template.env[{index}].name", variable.name, self.env, "env")

    @staticmethod
    def _listed(field: str, value: str, allowed: tuple[str, ...], key: str) -> Iterator[str]:
        if not _matches(value, allowed):
            yield (
                f"spec.{field}: {value!r} is not allowed ({_shown(allowed)}); remove it, or ask the administrator to "
                f"add it to trainer.allow.{key}"
            )


def secret_refusals(template: Template, secrets: Mapping[str, Any]) -> Iterator[str]:
    """Yield which of the run's secrets the administrator does not offer, and literals that should be one of them."""
    for index, name in enumerate(template.secrets):
        if name not in secrets:
            yield (
                f"spec.template.secrets[{index}]: {name!r} is not offered ({_shown(tuple(secrets))}); remove it, or "
                "ask the administrator to add it to trainer.secrets"
            )
    words = [(f"env[{i}].value", variable.value) for i, variable in enumerate(template.env)]
    words += [(f"command[{i}]", word) for i, word in enumerate(template.command)]
    words += [(f"args[{i}]", word) for i, word in enumerate(template.args)]
    for field, text in words:
        if CREDENTIAL.search(text):
            yield (
                f"spec.template.{field}: looks like a credential, which everybody who can read the run could use; "
                "revoke it, put the new one into a Secret, and name it in template.secrets"
            )


def _matches(value: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(value, pattern) for pattern in patterns)


def _shown(allowed: tuple[str, ...]) -> str:
    return f"allowed: {', '.join(allowed)}" if allowed else "none is"
