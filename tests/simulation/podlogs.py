"""The logs of pods, as kubelets serve them through the API server.

A new reader gets only what the current log file holds: lines before a rotation are gone for it. A reader that was
connected all the time has them. A node that does not answer gives 500; a runtime that has lost the file gives a sentence
with status 200.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tests.simulation.apiserver import Refused

if TYPE_CHECKING:
    from tests.simulation.transport import Stream
    from tests.simulation.world import Process, World


@dataclass
class ContainerLog:
    """What one container has printed."""

    node: str
    lines: list[tuple[float, str, bytes]] = field(default_factory=list)  # unix seconds on the node's clock, text, bytes
    rotated: int = 0  # number of lines that a new reader does not get
    closed: bool = False
    followers: list[Process] = field(default_factory=list)  # that followed it when it was closed
    readers: list[Stream] = field(default_factory=list)


class PodLogs:
    """The logs of all pods by namespace and name, and what is wrong with them at the moment."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.logs: dict[tuple[str, str], ContainerLog] = {}
        self.exists: dict[tuple[str, str], bool] = {}  # pods that exist; True if bound to a node
        self.unreachable: set[str] = set()  # nodes whose kubelet does not answer the API server
        self.unreadable: set[str] = set()  # nodes whose runtime answers with an error in the log's place
        self.cuts_lines = 0.0  # probability that a stream ends inside a line

    def append(self, place: tuple[str, str], at: float, text: str) -> None:
        """Add a line, and send it to everybody who follows the log."""
        log = self.logs[place]
        line = f"{_nano(at)} {text}\n".encode()
        log.lines.append((at, text, line))
        for reader in list(log.readers):
            if self.cuts_lines and self.world.random.random() < self.cuts_lines:
                self.world.fault("log cut inside a line", place[1])
                reader.send(line[: len(line) // 2], 0.01)
                reader.end(lag=0.02)
                log.readers.remove(reader)
            elif log.node not in self.unreachable:
                reader.send(line, self.world.random.uniform(0.005, 0.1))

    def close(self, place: tuple[str, str]) -> None:
        """The container has ended: so do the streams that follow it."""
        log = self.logs[place]
        log.closed = True
        if log.node not in self.unreachable:
            log.followers = [reader.process for reader in log.readers if reader.hears()]
            for reader in log.readers:
                reader.end(lag=0.05)
        log.readers.clear()

    def serve(self, namespace: str, pod: str, query: dict[str, str], stream: Stream) -> None:
        """Answer one request. Raises Refused."""
        place = (namespace, pod)
        if place not in self.exists:
            raise Refused(404, "NotFound", f'pods "{pod}" not found')
        log = self.logs.get(place)
        if log is None:
            raise Refused(400, "BadRequest", f'container "trainer" in pod "{pod}" is waiting to start')
        if log.node in self.unreachable:
            self.world.fault("log of an unreachable kubelet", pod)
            code = self.world.random.choice((500, 502))
            raise Refused(code, "InternalError", f"Get https://{log.node}:10250/containerLogs: i/o timeout")
        if log.node in self.unreadable:
            self.world.fault("unable to retrieve container logs", pod)
            stream.send(b"unable to retrieve container logs for containerd://0123", 0.01)
            stream.end(lag=0.02)
            return
        wanted = log.lines[log.rotated :]
        if "sinceTime" in query:
            since = datetime.fromisoformat(query["sinceTime"]).timestamp()
            wanted = [line for line in wanted if line[0] >= since]
        if "tailLines" in query:
            wanted = wanted[-int(query["tailLines"]) :]
        content = b"".join(line for _, _, line in wanted)
        if "limitBytes" in query:
            content = content[: int(query["limitBytes"])]
        if content:
            stream.send(content, 0.005)
        if query.get("follow") == "true" and not log.closed:
            log.readers.append(stream)
        else:
            stream.end(lag=0.01)

    def silence(self, node: str) -> None:
        """Let the open streams of a node stay open without a word: a connection whose other end is gone."""
        for log in self.logs.values():
            if log.node == node:
                for reader in log.readers:
                    reader.silent = True
                log.readers.clear()


def _nano(at: float) -> str:
    """Return a time as container runtimes stamp lines."""
    whole = int(at)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{int((at - whole) * 1e6):06d}000Z"
