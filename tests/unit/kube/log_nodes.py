"""A node that serves one container's log, and a stream that reads it."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

from podium.kube import log_stream
from podium.mllog import LogBuffer


def row(second, nanosecond=0, value=None):
    body = {"time_ms": second * 1000, "key": "eval_accuracy", "value": second if value is None else value}
    return f"2026-01-01T00:00:{second:02}.{nanosecond:09}Z :::MLLOG {json.dumps(body)}\n".encode()


class Node:
    """Serves one container's log: each connection is a list of chunks, seconds between them, an error, or a stream that
    hangs.

    `reads` are the connections that do not follow, if these are to be served apart.
    """

    def __init__(self, *connections, reads=None):
        self.connections = list(connections)
        self.reads = reads
        self.queries = []
        self.over = False

    @asynccontextmanager
    async def log(self, namespace, pod, container, **query):
        self.queries.append(query)
        source = self.connections if self.reads is None or "follow" in query else self.reads
        connection = source.pop(0) if source else []
        if isinstance(connection, Exception):
            raise connection

        async def chunks():
            for chunk in connection:
                if chunk == "hang":
                    await asyncio.sleep(3600)
                elif chunk == "over":
                    self.over = True
                elif isinstance(chunk, Exception):
                    raise chunk
                elif isinstance(chunk, float):
                    await asyncio.sleep(chunk)
                else:
                    yield chunk

        yield chunks()


def stream_of(node, buffer, *, checkpoint=None, pod=lambda: "digits-1-0-0", known_until=1.0, **options):
    async def restore():
        yield "", checkpoint

    changes = []
    stream = log_stream.LogStream(
        node,
        buffer,
        namespace="lab",
        container="trainer",
        pod=pod,
        over=lambda: node.over,
        restore=None if checkpoint is None else restore,
        changed=changes.append,
        known_until=0.0 if checkpoint is not None else known_until,
        **options,
    )
    return stream, changes


def values(buffer):
    return [evaluation.quality["eval_accuracy"] for evaluation in buffer.summary.evaluations]


async def followed(node, **options):
    buffer = LogBuffer()
    stream, _ = stream_of(node, buffer, **options)
    await asyncio.wait_for(stream.run(), 10)
    assert (buffer.ended, buffer.problem) == (True, "")
    return values(buffer), stream


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)
