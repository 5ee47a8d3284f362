"""Servers behind a bad network: an API server that is overloaded and forgets, a store that takes its time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from aiohttp import web

from tests.cluster.controlplane import ControlPlane
from tests.cluster.processes import free_ports

_T = TypeVar("_T")
_LONGEST_LINE = 16 << 20
_CONNECTION_HEADERS = {
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "content-encoding",
    "accept-encoding",
}
_EXPIRED = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410,
            "message": "too old resource version: 1 (2)"}  # fmt: skip


class _Background:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=type(self).__name__, daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._call(self._open())

    def stop(self) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    async def _open(self) -> None:
        raise NotImplementedError

    async def _close(self) -> None:
        raise NotImplementedError


class SlowRelay(_Background):
    """The server at `address` and `port`, on another port of that address: what it says takes `seconds` to arrive."""

    def __init__(self, address: str, port: int, seconds: float) -> None:
        super().__init__()
        self._address, self._target, self._seconds = address, port, seconds
        (self.port,) = free_ports(1, address)

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._serve, self._address, self.port)

    async def _close(self) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            server_reader, server_writer = await asyncio.open_connection(self._address, self._target)
            await asyncio.gather(self._copy(reader, server_writer, 0), self._copy(server_reader, writer, self._seconds))

    @staticmethod
    async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 20):
                await asyncio.sleep(seconds)
                writer.write(data)
                await writer.drain()
        writer.close()


class FaultyApi(_Background):
    """The API server of `plane` by plain HTTP, with the rights of its administrator, for whoever uses `kubeconfig`."""

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        super().__init__()
        self._server = plane.server
        self._tls = ssl.create_default_context(cafile=plane.pki.path("ca.crt"))
        self._tls.load_cert_chain(plane.pki.path("admin.crt"), plane.pki.path("admin.key"))
        self._port = free_ports(1)[0]
        self._streams: dict[asyncio.Task[None], bool] = {}  # answers that are passed on; whether they are watches
        self._status: int | None = None
        self.spoiled = 0
        self.kubeconfig = folder / "faulty.kubeconfig"
        context = {"name": "podium-test", "context": {"cluster": "podium-test", "user": "nobody"}}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "podium-test",
            "clusters": [{"name": "podium-test", "cluster": {"server": f"http://127.0.0.1:{self._port}"}}],
            "users": [{"name": "nobody", "user": {}}],
            "contexts": [context],
        }
        self.kubeconfig.write_text(json.dumps(document))

    @contextmanager
    def answering(self, status: int) -> Iterator[None]:
        """Within it every new request is answered with this status; watches and logs that are open go on."""
        self._status = status
        try:
            yield
        finally:
            self._status = None

    @property
    def watches(self) -> int:
        """How many are open."""
        return sum(self._streams.values())

    def expire(self) -> None:
        """End all watches as if they were too old."""
        self._call(self._expire())

    async def _open(self) -> None:
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=0)
        self._client = aiohttp.ClientSession(
            connector=connector, read_bufsize=_LONGEST_LINE, timeout=aiohttp.ClientTimeout(), auto_decompress=False
        )
        application = web.Application(client_max_size=_LONGEST_LINE)
        application.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()

    async def _close(self) -> None:
        for stream in tuple(self._streams):
            stream.cancel()
        await self._runner.cleanup()
        await self._client.close()

    async def _expire(self) -> None:
        for stream, is_watch in tuple(self._streams.items()):
            if is_watch:
                stream.cancel()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if self._status:
            self.spoiled += 1
            body = {
                "kind": "Status",
                "apiVersion": "v1",
                "status": "Failure",
                "code": self._status,
                "message": "spoiled",
            }
            headers = {"Retry-After": "1"} if self._status == 429 else {}
            return web.json_response(body, status=self._status, headers=headers)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _CONNECTION_HEADERS}
        headers["Accept-Encoding"] = "identity"
        url, body = f"{self._server}{request.raw_path}", await request.read()
        try:
            answer = await self._client.request(request.method, url, headers=headers, data=body or None)
        except aiohttp.ClientError as error:
            return web.Response(status=502, text=str(error))
        async with answer:
            return await self._pass_on(request, answer)

    async def _pass_on(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        headers = {name: value for name, value in answer.headers.items() if name.lower() not in _CONNECTION_HEADERS}
        response = web.StreamResponse(status=answer.status, headers=headers)
        await response.prepare(request)
        passing = asyncio.create_task(_copy(answer, response))
        self._streams[passing] = request.query.get("watch") == "true"
        try:
            await asyncio.wait([passing])
        finally:
            del self._streams[passing]
        with contextlib.suppress(ConnectionError):
            if passing.cancelled() and request.query.get("watch") == "true":
                await response.write(json.dumps({"type": "ERROR", "object": _EXPIRED}).encode() + b"\n")
            await response.write_eof()
        return response


async def _copy(answer: aiohttp.ClientResponse, response: web.StreamResponse) -> None:
    """By whole lines, so that a watch can end between two of them."""
    with contextlib.suppress(aiohttp.ClientError, ConnectionError):
        async for line in answer.content:
            await response.write(line)
