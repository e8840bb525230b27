"""Thousands of live connections held by one cheap process: `python -m bench.live_clients`, see `open_clients`.

One line of JSON on stdin says whom to connect. It answers "ready" when all are let in, then one line of JSON for every
notice that all of them have got, with the moments (CLOCK_MONOTONIC, which processes share) of its first, median, 99th
percentile and last arrival. It reads sockets in one epoll loop, since an HTTP client for each would cost more than the
server that is measured.
"""

import asyncio
import json
import os
import re
import select
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process, create_subprocess_exec
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from bench.report import percentile
from deploy.local.places import CHECKOUT

Form = Literal["sse", "socket"]

CONNECTING_MAX: Final = 100
READ_BYTES_MAX: Final = 65_536
TAIL_BYTES: Final = 80
WAIT_SECONDS_MAX: Final = 120.0
LINE_BYTES_MAX: Final = 1_048_576
PING: Final = b"\x89\x00"
PONG: Final = b"\x8a\x80\x00\x00\x00\x00"
"""Control frames without content (RFC 6455, section 5.5); no text that notify sends has such bytes."""
NOTICE = re.compile(rb'"notification_id":"([0-9a-f-]{36})"')
KEY: Final = "AAAAAAAAAAAAAAAAAAAAAA=="
"""Of the WebSocket handshake (RFC 6455, section 4.1): it guards against caches, of which there is none here."""


@dataclass(frozen=True)
class Arrival:
    """When a notice reached the clients: moments of time.monotonic()."""

    notice_id: str
    first: float
    p50: float
    p99: float
    last: float


class Clients:
    """The generator's process, from outside."""

    def __init__(self, process: Process) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """For its CPU clock."""
        return self._process.pid

    async def arrival(self) -> Arrival:
        """The next notice that everybody has got. Raises TimeoutError."""
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            line = await self._line()
        return Arrival(**json.loads(line))

    async def _line(self) -> bytes:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("the clients' process ended")
        return line

    async def let_in(self, task: dict[str, Any]) -> None:
        """Wait until all are connected."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(task).encode() + b"\n")
        await self._process.stdin.drain()
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            line = await self._line()
        if line != b"ready\n":
            raise RuntimeError(f"the clients' process said {line!r}")


@asynccontextmanager
async def open_clients(port: int, tokens: Sequence[str], *, form: Form) -> AsyncIterator[Clients]:
    """A connection for each token to notify on a loopback port; closed on leaving."""
    process = await create_subprocess_exec(
        *(sys.executable, "-m", "bench.live_clients"), cwd=CHECKOUT, stdin=PIPE, stdout=PIPE, limit=LINE_BYTES_MAX
    )
    try:
        clients = Clients(process)
        await clients.let_in({"port": port, "tokens": list(tokens), "form": form})
        yield clients
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


# --- in the process of the clients ------------------------------------------------------------------------------------


@dataclass
class Connection:
    """One client."""

    plain: socket.socket
    token: str
    tail: bytes = b""
    is_upgraded: bool = False
    is_let_in: bool = False


@dataclass
class Crowd:
    """All clients, and what has reached them."""

    port: int
    form: Form
    waiting: list[str]
    poll: select.epoll = field(default_factory=select.epoll)
    connections: dict[int, Connection] = field(default_factory=dict)
    let_in: int = 0
    heard: dict[bytes, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.size = len(self.waiting)

    def run(self) -> None:
        """Connect everybody, then listen for ever."""
        for _ in range(min(CONNECTING_MAX, self.size)):
            self._connect_next()
        while True:
            for descriptor, _ in self.poll.poll():
                connection = self.connections[descriptor]
                content = connection.plain.recv(READ_BYTES_MAX)
                if not content:
                    raise SystemExit(f"a client was sent away: {connection.tail!r}")
                self._take(connection, content, time.monotonic())

    def _connect_next(self) -> None:
        if not self.waiting:
            return
        connection = Connection(socket.create_connection(("127.0.0.1", self.port)), self.waiting.pop())
        if self.form == "sse":
            login = f"Authorization: Bearer {connection.token}"
            request = f"GET /api/notifications/live HTTP/1.1\r\nHost: bench\r\n{login}\r\n\r\n"
        else:
            upgrade = (
                f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}"
            )
            request = f"GET /api/notifications/socket HTTP/1.1\r\nHost: bench\r\n{upgrade}\r\n\r\n"
        connection.plain.sendall(request.encode())
        self.connections[connection.plain.fileno()] = connection
        self.poll.register(connection.plain.fileno(), select.EPOLLIN)

    def _take(self, connection: Connection, content: bytes, now: float) -> None:
        seen = connection.tail + content
        end = 0
        for found in NOTICE.finditer(seen):
            end = found.end()
            self._note(found.group(1), now)
        if self.form == "socket" and PING in content:
            connection.plain.sendall(PONG)
        connection.tail = seen[max(end, len(seen) - TAIL_BYTES) :]
        if not connection.is_let_in:
            self._let_in(connection, seen)

    def _let_in(self, connection: Connection, seen: bytes) -> None:
        if self.form == "socket" and not connection.is_upgraded:
            if b" 101 " not in seen:
                raise SystemExit(f"no upgrade: {seen!r}")
            connection.is_upgraded = True
            hello = {"type": "hello", "v": 1, "token": connection.token, "last_event_id": None}
            connection.plain.sendall(_masked(json.dumps(hello).encode()))
            return
        if (b"retry:" if self.form == "sse" else b'"ready"') not in seen:
            if b" 200 " not in seen and self.form == "sse" and b"HTTP/1.1" in seen:
                raise SystemExit(f"not let in: {seen!r}")
            return
        connection.is_let_in = True
        self.let_in += 1
        self._connect_next()
        if self.let_in == self.size:
            _answer("ready")

    def _note(self, notice_id: bytes, now: float) -> None:
        moments = self.heard.setdefault(notice_id, [])
        moments.append(now)
        if len(moments) == self.size:
            moments.sort()
            arrival = Arrival(
                notice_id.decode(), moments[0], percentile(moments, 0.5), percentile(moments, 0.99), moments[-1]
            )
            _answer(json.dumps(vars(arrival)))
        elif len(moments) > self.size:
            raise SystemExit("a notice came twice")


def _masked(payload: bytes) -> bytes:
    """A client's text frame (RFC 6455, section 5.2), masked with zeros."""
    return bytes([0x81, 0x80 | 126]) + len(payload).to_bytes(2, "big") + bytes(4) + payload


def _answer(line: str) -> None:
    os.write(1, line.encode() + b"\n")


if __name__ == "__main__":
    told = json.loads(sys.stdin.readline())
    Crowd(told["port"], told["form"], told["tokens"]).run()
