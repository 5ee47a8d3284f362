"""The logs of fake pods, served as a kubelet serves them: every pod plays back one recorded log, at its own time.

    python -m tests.cluster.podlogs --log FILE --seconds 24 --open 30 --port PORT --cert FILE --key FILE [--live]

kwok can serve a file as every pod's log, but its times stand still, a stream that follows it never ends, and it holds
an inotify instance, of which Linux grants 128. Here a pod's log begins when it is first asked for and takes `seconds`;
the ``time_ms`` of its MLPerf lines are moved accordingly. A stream that follows ends with the last line, or `--open`
seconds after the first, as that of a container that takes its time to end. A read that does not follow gives what has
been printed; if it is the first, the log is that of a container that has ended, or with `--live`, begins now.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import ssl
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

_TIME = re.compile(r'("time_ms":\s*)(\d+)')
_TOGETHER_SECONDS = 0.02  # lines this close are one write


@dataclass(frozen=True)
class Line:
    """`at` is in seconds since the pod's start."""

    at: float
    text: str

    def render(self, start: float, *, timestamps: bool) -> bytes:
        moment = start + self.at
        text = _TIME.sub(lambda match: f"{match[1]}{round(moment * 1000)}", self.text, count=1)
        stamp = f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%S.%f}000Z " if timestamps else ""
        return f"{stamp}{text}\n".encode()


@dataclass(frozen=True)
class Wanted:
    """What a request for a log asks for."""

    follow: bool
    timestamps: bool
    since: float
    tail: int | None
    limit_bytes: int | None

    @classmethod
    def of(cls, query: dict[str, str], now: float) -> Wanted:
        since = float("-inf")
        if "sinceTime" in query:
            since = datetime.fromisoformat(query["sinceTime"]).timestamp()
        elif "sinceSeconds" in query:
            since = now - int(query["sinceSeconds"])
        return cls(
            follow=query.get("follow") == "true",
            timestamps=query.get("timestamps") == "true",
            since=since,
            tail=int(query["tailLines"]) if "tailLines" in query else None,
            limit_bytes=int(query["limitBytes"]) if "limitBytes" in query else None,
        )


def recorded(text: str, seconds: float) -> list[Line]:
    """The lines of a log, their times stretched or squeezed to `seconds`. One without a time comes with the last."""
    times: list[int] = []
    for line in text.splitlines():
        match = _TIME.search(line)
        times.append(int(match[2]) if match else times[-1] if times else 0)
    first, last = min(time for time in times if time or max(times) == 0), max(times)
    scale = seconds / ((last - first) or 1)
    return [Line(max(0, at - first) * scale, line) for at, line in zip(times, text.splitlines(), strict=True)]


class PodLogs:
    """Plays `lines` back for each pod."""

    def __init__(self, lines: list[Line], open_seconds: float, *, live: bool = False) -> None:
        self._lines = lines
        self._live = live
        self._open_seconds = open_seconds
        self._seconds = max(line.at for line in lines)
        self._starts: dict[tuple[str, str], float] = {}

    async def serve(self, request: web.Request) -> web.StreamResponse:
        pod = request.match_info["namespace"], request.match_info["pod"]
        now = time.time()
        wanted = Wanted.of(dict(request.query), now)
        start = self._starts.setdefault(pod, now - (0 if wanted.follow or self._live else self._seconds))
        lines = [line for line in self._lines if start + line.at >= wanted.since]
        if not wanted.follow:
            lines = [line for line in lines if start + line.at < now + _TOGETHER_SECONDS]
            chosen = lines[max(0, len(lines) - wanted.tail) :] if wanted.tail is not None else lines
            body = b"".join(line.render(start, timestamps=wanted.timestamps) for line in chosen)
            return web.Response(body=body[: wanted.limit_bytes], content_type="text/plain")
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        await _play(response, lines, start, wanted)
        await asyncio.sleep(max(0.0, start + self._open_seconds - time.time()))
        return response


async def _play(response: web.StreamResponse, lines: list[Line], start: float, wanted: Wanted) -> None:
    due = sum(start + line.at <= time.time() for line in lines)
    if wanted.tail is not None:
        lines = lines[max(0, due - wanted.tail) :]
    position = 0
    while position < len(lines):
        await asyncio.sleep(max(0.0, start + lines[position].at - time.time()))
        until = time.time() + _TOGETHER_SECONDS
        end = position + 1
        while end < len(lines) and start + lines[end].at <= until:
            end += 1
        data = b"".join(line.render(start, timestamps=wanted.timestamps) for line in lines[position:end])
        await response.write(data)
        position = end


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.podlogs", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--open", type=float, default=0.0, help="seconds that a stream stays open, at least")
    parser.add_argument("--live", action="store_true", help="every log begins with its first read")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--cert", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)
    given = parser.parse_args()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(given.cert, given.key)
    application = web.Application()
    logs = PodLogs(recorded(given.log.read_text(), given.seconds), given.open, live=given.live)
    application.router.add_get("/containerLogs/{namespace}/{pod}/{container}", logs.serve)
    web.run_app(application, host="127.0.0.1", port=given.port, ssl_context=tls, access_log=None, backlog=1024)


if __name__ == "__main__":
    main()
