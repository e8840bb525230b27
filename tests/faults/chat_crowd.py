"""Thousands of chat clients in one event loop: readers who keep their position, speakers who repeat, and deaf ones.

Each client is a protocol on a raw socket. Most frames are the same bytes for everybody, so each is taken apart once.
"""

import asyncio
import json
import random
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from uuid import UUID

from tests.faults.chat_history import Acknowledged, Heard
from tests.integration.chat.gateways import eventually
from tests.integration.chat.rfc6455 import CLOSE, PING, PONG, TEXT, ServerFrames, client_frame
from tests.integration.chat.wire import handshake

RECONNECT_SECONDS_MAX = 1.0
ANSWER_SECONDS = 5.0
ARRIVALS_AT_ONCE, ARRIVAL_PAUSE_SECONDS = 100, 0.05
GATHER_SECONDS_MAX = 180.0
REPEAT_SECONDS = 0.3
DEAF_RECEIVE_BYTES = 4_096
PADDING_CHARACTERS = 300


@dataclass(frozen=True)
class Parsed:
    """A frame of the gateway as all who got it see it."""

    content: dict[str, Any]
    heard: Heard | None


@lru_cache(maxsize=512)
def parsed(payload: bytes) -> Parsed:
    """Take a frame apart, once for all who get the same bytes."""
    content: dict[str, Any] = json.loads(payload)
    kind = content["type"]
    if kind not in ("joined", "gap", "messages"):
        return Parsed(content, None)
    brought = content["messages"] if kind == "messages" else content["history"]
    items = tuple((one["offset"], one.get("text", "")) for one in brought)
    offset = items[-1][0] if kind == "messages" else content["offset"]
    return Parsed(content, Heard(kind, content["epoch"], offset, items, content.get("recovered", False)))


@dataclass
class Crowd:
    """Everybody in one room, and what they have in common."""

    room: UUID
    ports: list[int]
    chance: random.Random
    readers: "list[Reader]" = field(default_factory=list)
    speakers: "list[Speaker]" = field(default_factory=list)
    sent: set[str] = field(default_factory=set)
    acknowledged: list[Acknowledged] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    """Seconds from a message's first sending to its arrival at a reader."""
    running: bool = True
    _tasks: "set[asyncio.Task[None]]" = field(default_factory=set)

    def start(self, work: Any) -> "asyncio.Task[None]":  # noqa: ANN401  a coroutine of whatever kind
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def gather(self, readers: int, deaf: int, tokens: Sequence[str]) -> None:
        """Have everybody join; the speakers are those with tokens."""
        self.readers = [Reader(self, deaf=number < deaf) for number in range(readers)]
        self.speakers = [Speaker(self, token, f"s{number}") for number, token in enumerate(tokens)]
        for number, client in enumerate([*self.readers, *self.speakers]):
            self.start(client.stay())
            if number % ARRIVALS_AT_ONCE == 0:
                await asyncio.sleep(ARRIVAL_PAUSE_SECONDS)
        await self.until(lambda: all(client.joined for client in [*self.readers, *self.speakers]), GATHER_SECONDS_MAX)

    async def speak(self, seconds: float, pause_seconds: float) -> None:
        """All speakers talk for so long, each with pauses, and then until what they have said is acknowledged."""
        until = time.monotonic() + seconds
        await asyncio.gather(*(speaker.speak(until, pause_seconds) for speaker in self.speakers))

    async def churn(self, per_second: float) -> None:
        """Drop connections at random, until cancelled; whoever is dropped comes back."""
        while True:
            await asyncio.sleep(self.chance.expovariate(per_second))
            self.chance.choice(self.readers).drop()

    async def until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Wait for a condition; TimeoutError when it is not met in time."""
        await eventually(condition, seconds)

    def caught_up(self) -> bool:
        """Whether every reader who reads is where the last acknowledged message is, or beyond."""
        if not self.acknowledged:
            return False
        last = self.acknowledged[-1]
        return all(
            reader.joined and reader.epoch == last.epoch and reader.offset >= last.offset
            for reader in [*self.readers, *self.speakers]
            if not reader.deaf
        )

    async def leave(self) -> None:
        """Everybody goes."""
        self.running = False
        for client in [*self.readers, *self.speakers]:
            client.drop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def histories(self) -> list[list[Heard]]:
        """Of all who read."""
        return [client.history for client in [*self.readers, *self.speakers] if not client.deaf]


class Reader(asyncio.Protocol):
    """Somebody in the room, over all connections. A deaf one never reads after it has joined."""

    def __init__(self, crowd: Crowd, *, deaf: bool = False, token: str | None = None) -> None:
        self.crowd = crowd
        self.deaf = deaf
        self.history: list[Heard] = []
        self.joined = False
        self.epoch = ""
        self.offset = 0
        self.close_codes: list[int | None] = []
        self._token = token
        self._position: dict[str, Any] | None = None
        self._transport: asyncio.Transport | None = None
        self._gone = asyncio.Event()
        self._head: bytearray | None = None
        self._frames = ServerFrames()

    async def stay(self) -> None:
        """Be connected to some gateway, again and again."""
        loop = asyncio.get_running_loop()
        while self.crowd.running:
            self._gone.clear()
            self._head = bytearray()
            self._frames = ServerFrames()
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    connection = await self._connected(loop)
                    await loop.create_connection(lambda: self, sock=connection)
            except OSError:
                self._gone.set()
            await self._gone.wait()
            self.joined = False
            await asyncio.sleep(self.crowd.chance.uniform(0, RECONNECT_SECONDS_MAX))

    async def _connected(self, loop: asyncio.AbstractEventLoop) -> socket.socket:
        connection = socket.socket()
        connection.setblocking(False)
        if self.deaf:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, DEAF_RECEIVE_BYTES)
        try:
            await loop.sock_connect(connection, ("127.0.0.1", self.crowd.chance.choice(self.crowd.ports)))
        except BaseException:
            connection.close()
            raise
        return connection

    def drop(self) -> None:
        """The connection is gone, without a goodbye."""
        if self._transport is not None:
            self._transport.abort()

    def write(self, content: dict[str, object]) -> bool:
        """Send a frame; false if there is no connection."""
        if self._transport is None or self._transport.is_closing() or not self.joined:
            return False
        self._transport.write(client_frame(json.dumps(content)))
        return True

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]  # uvloop's are no subclass
        join = {"type": "join", "room": str(self.crowd.room), "token": self._token, "since": self._position}
        self._transport.write(handshake())  # type: ignore[union-attr]  # just set
        self._join = client_frame(json.dumps(join))

    def data_received(self, data: bytes) -> None:
        if self._head is not None:
            self._head += data
            head, end, rest = bytes(self._head).partition(b"\r\n\r\n")
            if not end:
                return
            self._head = None
            if not head.startswith(b"HTTP/1.1 101"):
                self.drop()
                return
            assert self._transport is not None
            self._transport.write(self._join)
            data = rest
        for frame in self._frames.feed(data):
            if frame.opcode == TEXT:
                self.take(parsed(frame.payload))
            elif frame.opcode == PING and self._transport is not None:
                self._transport.write(client_frame(frame.payload, PONG))
            elif frame.opcode == CLOSE:
                self.close_codes.append(frame.close_code)
                self.drop()
                return

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.joined = False
        self._gone.set()

    # ---

    def take(self, frame: Parsed) -> None:
        """Note what a frame says."""
        heard = frame.heard
        if heard is None:
            return
        self.history.append(heard)
        self.epoch, self.offset = heard.epoch, heard.offset
        self._position = {"offset": heard.offset, "epoch": heard.epoch}
        if heard.kind == "joined":
            self.joined = True
            if self.deaf and self._transport is not None:
                self._transport.pause_reading()
        elif heard.kind == "messages":
            now = time.monotonic()
            self.crowd.delays.extend(now - float(text.split()[1]) for _, text in heard.items if text)


class Speaker(Reader):
    """Says one message after the other, and repeats under the same id what is not acknowledged, on any connection."""

    def __init__(self, crowd: Crowd, token: str, name: str) -> None:
        super().__init__(crowd, token=token)
        self.refusals: list[str] = []
        self._name = name
        self._said = 0
        self._answers: dict[str, asyncio.Future[dict[str, Any]]] = {}

    async def speak(self, until: float, pause_seconds: float) -> None:
        """Talk until a time of the monotonic clock."""
        while time.monotonic() < until:
            await asyncio.sleep(self.crowd.chance.uniform(0.5, 1.5) * pause_seconds)
            self._said += 1
            await self._say(f"{self._name}-{self._said}")

    async def _say(self, client_id: str) -> None:
        text = f"{client_id} {time.monotonic():.6f} " + "x" * PADDING_CHARACTERS
        self.crowd.sent.add(text)
        while True:
            answer = await self._ask(client_id, text)
            if answer is not None and answer["type"] == "accepted":
                self.crowd.acknowledged.append(Acknowledged(text, answer["offset"], answer["epoch"]))
                return
            if answer is not None:
                self.refusals.append(answer["code"])
            await asyncio.sleep(REPEAT_SECONDS)

    async def _ask(self, client_id: str, text: str) -> dict[str, Any] | None:
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[client_id] = answer
        if not self.write({"type": "send", "id": client_id, "text": text}):
            return None
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await answer
        except TimeoutError:
            return None

    def take(self, frame: Parsed) -> None:
        """Answers too."""
        super().take(frame)
        if frame.content["type"] in ("accepted", "error"):
            waiting = self._answers.pop(frame.content.get("id") or "", None)
            if waiting is not None and not waiting.done():
                waiting.set_result(frame.content)
