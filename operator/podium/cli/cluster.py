"""Connect to the cluster that kubectl would use, with errors for the person at the command line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

import aiohttp
import typer
from kubernetes.aio.config import ConfigException
from pydantic import ValidationError

from podium.api import GROUP, KIND, PLURAL, VERSION
from podium.api.sweep import SWEEP_KIND, SWEEP_PLURAL
from podium.cli.errors import UsageError
from podium.kube import Api, ApiError, Resource, connect_as_kubectl

NamespaceOption = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Namespace of the object; default: the context's.")
]
ContextOption = Annotated[str | None, typer.Option("--context", help="Kubeconfig context; default: current context.")]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object of ours, as the API serves it."""

    name: str
    plural: str

    @property
    def resource(self) -> Resource:
        return Resource(self.plural, f"apis/{GROUP}/{VERSION}")


RUNS, SWEEPS = Kind(KIND, PLURAL), Kind(SWEEP_KIND, SWEEP_PLURAL)


@asynccontextmanager
async def cluster(context: str | None, kind: Kind, namespace: str | None, name: str) -> AsyncIterator[tuple[Api, str]]:
    """Connect, and yield the client and the namespace of the object `name`.

    Raises UsageError if there is no cluster, and for what the block raises: the API server refuses a request or does
    not answer, or the object cannot be read.
    """
    try:
        api, of_context = await connect_as_kubectl(context)
    except ConfigException as error:
        raise UsageError(_no_cluster(context, error)) from error
    namespace = namespace or of_context
    try:
        yield api, namespace
    except ValidationError as error:
        raise UsageError(_unreadable(error, kind, namespace, name)) from error
    except (ApiError, aiohttp.ClientError, TimeoutError) as error:
        raise UsageError(_refused(error, kind, namespace, name, api.host)) from error
    finally:
        await api.close()


def _no_cluster(context: str | None, error: ConfigException) -> str:
    if context and "contexts list" in str(error):
        return f"--context {context}: no such context; kubectl config get-contexts lists them"
    return f"no cluster: {error}; set KUBECONFIG to a kubeconfig, or name a context with --context"


def _unreadable(error: ValidationError, kind: Kind, namespace: str, name: str) -> str:
    """The error for a status that no operator of this version can have written."""
    first = error.errors()[0]
    place = ".".join(["status", *map(str, first["loc"])])
    cause = f"{place}: {first['msg']}"
    return f"{kind.name} {name} in namespace {namespace} cannot be read: {cause}; delete it and create it again"


def _refused(error: Exception, kind: Kind, namespace: str, name: str, host: str) -> str:
    """What it means that the API server refuses or does not answer, and what to do."""
    if not isinstance(error, ApiError):
        cause = str(error) or type(error).__name__
        return f"the API server {host} cannot be reached: {cause}; check with kubectl get namespaces"
    match error.code, error.reason:
        case 404, "NotFound" if f'namespaces "{namespace}"' in str(error):
            said = f"there is no namespace {namespace}; kubectl get namespaces lists them"
        case 404, "NotFound":
            listed = f"kubectl get {kind.plural} --all-namespaces lists all of them"
            said = f"namespace {namespace} has no {kind.name} {name}; {listed}"
        case 404, _:
            said = f"this cluster has no {kind.name}s: install Podium there first (its CRDs are in crds/)"
        case 409, "AlreadyExists":
            delete = f"kubectl delete {kind.name.lower()} {name}"
            said = f"namespace {namespace} already has a {kind.name} {name}; choose another name, or {delete} first"
        case 401, _:
            said = f"the API server {host} rejects your credentials: {error}; log in to the cluster again"
        case 403, _:
            said = f"{error}; ask for permission to {_VERBS[kind]} {kind.plural} in namespace {namespace}"
        case _:
            said = f"the API server {host} refused the request: {error}"
    return said


_VERBS = {RUNS: "get and watch", SWEEPS: "create, get and watch"}
