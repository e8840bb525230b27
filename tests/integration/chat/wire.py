"""One gateway for the tests at the wire, a client of raw bytes, and a bystander who must notice nothing of them."""

import asyncio
import base64
import json
import os
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest

from runtime.ids import uuid7
from runtime.postgres import connect
from tests import engines
from tests.free_ports import free_port
from tests.integration.chat.gateways import REPOSITORY, Accounts, Person, chat_environment
from tests.integration.chat.rfc6455 import CLOSE, PING, PONG, TEXT, ServerFrame, ServerFrames, client_frame

WAIT_SECONDS = 20.0
JOIN_TIMEOUT_SECONDS = 4
PING_SECONDS = 5
"""Half of it is the time to answer, which a busy machine needs; the first ping comes after more than half."""
DRAIN_NOTICE_SECONDS = 5
RSS_GROWTH_BYTES_MAX = 40 * 1024 * 1024


@dataclass
class WireGateway:
    """One `python -m chat` with the limits of everyday, but impatient."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path
    accounts: Accounts
    room: UUID
    rss_at_start: int = 0

    def rss_bytes(self) -> int:
        """What the process holds in memory."""
        return rss_bytes(self.process.pid)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def metric(self, name: str) -> float:
        """One of its metrics, summed over labels."""
        with urllib.request.urlopen(self.url("/metrics"), timeout=10) as answer:  # noqa: S310  http, of our own process
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


def rss_bytes(pid: int) -> int:
    """The resident memory of a process."""
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def published_keys(accounts: Accounts) -> Iterator[str]:
    """The URL of the key set, from a thread of its own: it outlives the event loop of a single test."""

    class Keys(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(accounts.key_set()).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Keys)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/.well-known/jwks.json"
    server.shutdown()
    thread.join()
    server.server_close()


def make_room(database: engines.Database, name: str) -> UUID:
    """A channel that chat knows."""
    room = uuid7()

    async def work() -> None:
        connection = await connect(database.dsn, schema="chat")
        await connection.execute("INSERT INTO rooms (channel_id, channel_name) VALUES ($1, $2)", room, name)
        await connection.close()

    engines.run_apart(work)
    return room


def start_gateway(
    environment: dict[str, str], log: Path, port: int | None = None
) -> tuple[int, subprocess.Popen[bytes]]:
    """A gateway that may not be ready yet."""
    port = port or free_port()
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "chat"], cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            env={**environment, "LIVESTREAM_HTTP_PORT": str(port)},
        )  # fmt: skip
    return port, process


def wait_until_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when `/readyz` says so."""
    deadline = threading.Event()
    timer = threading.Timer(60, deadline.set)
    timer.start()
    try:
        while not deadline.wait(0.05):
            assert process.poll() is None, log.read_text()[-4_000:]
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
                if answer.status == 200:
                    return
        raise TimeoutError(log.read_text()[-4_000:])
    finally:
        timer.cancel()


@pytest.fixture(scope="module")
def wire_gateway(
    postgres_dsn: str, migrated_template: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WireGateway]:
    """The gateway that all tests of a module strike at."""
    accounts, log = Accounts(), tmp_path_factory.mktemp("wire") / "chat.log"
    with engines.fresh_database(postgres_dsn, template=migrated_template) as database, published_keys(accounts) as keys:
        room = make_room(database, "wire")
        environment = chat_environment(
            {
                "LIVESTREAM_POSTGRES_DSN": database.url,
                "LIVESTREAM_BUS_BACKEND": "postgres",
                "LIVESTREAM_REDIS_URL": redis_url,
                "LIVESTREAM_JWKS_URL": keys,
                "LIVESTREAM_PUBLIC_URL": "http://edge.test",
                "LIVESTREAM_CHAT_JOIN_TIMEOUT_SECONDS": str(JOIN_TIMEOUT_SECONDS),
                "LIVESTREAM_CHAT_PING_SECONDS": str(PING_SECONDS),
                "LIVESTREAM_CHAT_DRAIN_NOTICE_SECONDS": str(DRAIN_NOTICE_SECONDS),
                "LIVESTREAM_STOP_GRACE_SECONDS": "30",
            }
        )
        port, process = start_gateway(environment, log)
        try:
            wait_until_ready(port, process, log)
            gateway = WireGateway(port, process, log, accounts, room)
            gateway.rss_at_start = gateway.rss_bytes()
            yield gateway
        finally:
            process.kill()
            process.wait()


class RawClient:
    """A socket to the gateway: bytes go out as they are given, what comes in must be in order by RFC 6455."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.head = b""
        self.answers_pings = True
        self.frames: list[ServerFrame] = []
        self.reset = False
        self._parser = ServerFrames()

    @classmethod
    async def connect(cls, port: int, before: bytes = b"", /, **headers: str | None) -> "RawClient":
        """Connect and upgrade; ``before`` is sent in one piece with the request."""
        client = await cls.open(port)
        client.writer.write(handshake(**headers) + before)
        await client.read_head()
        return client

    @classmethod
    async def open(cls, port: int, *, receive_bytes: int | None = None) -> "RawClient":
        """Only TCP; the kernel may be told to hold little of what comes in."""
        connection = socket.socket()
        connection.setblocking(False)
        if receive_bytes is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
        return cls(*await asyncio.open_connection(sock=connection))

    async def read_head(self) -> int:
        """The status of the answer to the upgrade; 0 if the connection ended instead."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                self.head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return 0
        return int(self.head.split()[1])

    def stop_reading(self) -> None:
        """From now on what comes in stays in the kernel."""
        self.answers_pings = False
        cast("asyncio.Transport", self.writer.transport).pause_reading()

    def send(self, *frames: bytes) -> None:
        """Write, whatever it is."""
        with suppress(ConnectionError):
            self.writer.write(b"".join(frames))

    async def send_slowly(self, frame: bytes) -> None:
        """One byte a segment."""
        connection: socket.socket = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in frame:
            if self.writer.is_closing():
                return
            self.send(bytes([byte]))
            await asyncio.sleep(0)

    def send_json(self, **frame: object) -> None:
        self.send(client_frame(json.dumps(frame)))

    async def join(self, room: UUID, token: str | None = None) -> dict[str, Any]:
        """Join and wait to be let in."""
        self.send_json(type="join", room=str(room), token=token)
        return await self.until("joined")

    async def next(self) -> ServerFrame | None:
        """The next frame; None at the end of the connection. Pings are answered and passed over."""
        while True:
            while self.frames:
                frame = self.frames.pop(0)
                if frame.opcode == PING:
                    if self.answers_pings:
                        self.send(client_frame(frame.payload, PONG))
                    continue
                return frame
            try:
                received = await self.reader.read(65_536)
            except ConnectionError:
                self.reset = True
                return None
            if not received:
                assert not self._parser.pending_bytes, "the last frame is cut off"
                return None
            self.frames += self._parser.feed(received)

    async def until(self, kind: str) -> dict[str, Any]:
        """The next JSON frame of a type; AssertionError if the connection ends before."""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                frame = await self.next()
                assert frame is not None, "the connection ended"
                assert frame.opcode == TEXT, (frame.opcode, frame.close_code)
                content: dict[str, Any] = json.loads(frame.payload)
                if content["type"] == kind:
                    return content

    async def ending(self) -> int | None:
        """Read to the end; the code of the gateway's close frame, None if there was none. Closes this end too."""
        code = None
        async with asyncio.timeout(WAIT_SECONDS):
            while (frame := await self.next()) is not None:
                if frame.opcode == CLOSE:
                    code = frame.close_code
                    break
        await self.end()
        return code

    async def end(self) -> None:
        """Leave without a goodbye."""
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


def handshake(**changes: str | None) -> bytes:
    """An upgrade request; a header is replaced by ``Name_With_Underlines=value``, left out by None."""
    headers: dict[str, str | None] = {
        "Host": "edge.test", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
    }  # fmt: skip
    headers.update({name.replace("_", "-"): value for name, value in changes.items()})
    lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return "\r\n".join(["GET /chat HTTP/1.1", *lines, "", ""]).encode()


@dataclass
class Scene:
    """The gateway, and somebody in the room who looks on."""

    gateway: WireGateway
    bystander: RawClient
    looking: "asyncio.Task[None]"
    seen: list[dict[str, Any]] = field(default_factory=list)
    messages_expected: bool = False

    def bystander_may_see_messages(self) -> None:
        """What is struck with are messages this time."""
        self.messages_expected = True

    async def connect(self, **headers: str | None) -> RawClient:
        return await RawClient.connect(self.gateway.port, b"", **headers)

    async def joined(self, person: Person | None = None) -> RawClient:
        client = await self.connect()
        await client.join(self.gateway.room, None if person is None else self.gateway.accounts.token(person))
        return client


@asynccontextmanager
async def looked_on(gateway: WireGateway) -> AsyncIterator[Scene]:
    """Afterwards the gateway must live and be small, and the bystander have seen one message: that of afterwards."""
    bystander = await RawClient.connect(gateway.port)
    await bystander.join(gateway.room)
    seen: list[dict[str, Any]] = []

    async def look() -> None:
        while (frame := await bystander.next()) is not None:
            assert frame.opcode == TEXT, frame
            seen.append(json.loads(frame.payload))

    scene = Scene(gateway, bystander, asyncio.create_task(look()), seen)
    yield scene
    speaker = await scene.joined(Person("speaker"))
    speaker.send_json(type="send", id="m", text="afterwards")
    await speaker.until("accepted")
    await speaker.end()
    async with asyncio.timeout(WAIT_SECONDS):
        while "afterwards" not in _texts(seen):
            assert not scene.looking.done(), "the bystander's connection ended"
            await asyncio.sleep(0.01)
    assert {frame["type"] for frame in seen} <= {"presence", "messages"}
    assert scene.messages_expected or _texts(seen) == ["afterwards"]
    scene.looking.cancel()
    await bystander.end()
    assert gateway.process.poll() is None
    assert gateway.rss_bytes() < gateway.rss_at_start + RSS_GROWTH_BYTES_MAX
    assert "Traceback" not in gateway.log.read_text()


def _texts(frames: list[dict[str, Any]]) -> list[str]:
    return [message["text"] for frame in frames if frame["type"] == "messages" for message in frame["messages"]]


@pytest.fixture
async def scene(wire_gateway: WireGateway) -> AsyncIterator[Scene]:
    """See `looked_on`."""
    async with looked_on(wire_gateway) as made:
        yield made
