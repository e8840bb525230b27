"""Those who listen: followers connected for notices (server-sent events), viewers in the chat (WebSockets)."""

import asyncio
import json
import time
from typing import Any
from uuid import UUID

import aiohttp

from console.demo.people import Origin, Person
from console.demo.steps import StepFailed

JOIN_SECONDS_MAX = 30.0


class NoticeListener:
    """A follower with an open notice stream. ``heard`` has (notice, wall-clock seconds of its arrival)."""

    def __init__(self, origin: Origin, person: Person) -> None:
        self.person = person
        self.heard: list[tuple[dict[str, Any], float]] = []
        self._origin = origin
        self._connected = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Open the stream; returns once the server has answered."""
        self._task = asyncio.create_task(self._listen(), name=f"notices-{self.person.username}")
        connected = asyncio.create_task(self._connected.wait())
        await asyncio.wait({self._task, connected}, timeout=JOIN_SECONDS_MAX, return_when=asyncio.FIRST_COMPLETED)
        connected.cancel()
        if self._task.done():
            self._task.result()
        if not self._connected.is_set():
            raise StepFailed("the notice stream to open", f"nothing within {JOIN_SECONDS_MAX:g} s")

    async def close(self) -> None:
        """Leave."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _listen(self) -> None:
        timeout = aiohttp.ClientTimeout(total=None, sock_read=60)
        url = f"{self._origin.url}/api/notifications/live"
        async with self._origin.session.get(url, headers=self.person.headers, timeout=timeout) as answer:
            if answer.status != 200:
                raise StepFailed("the notice stream to open", answer.status)
            self._connected.set()
            async for raw in answer.content:
                line = raw.decode().rstrip("\r\n")
                if line.startswith("data:"):
                    self.heard.append((json.loads(line.removeprefix("data:")), time.time()))


class ChatViewer:
    """A viewer in a chat room. ``entries`` holds what arrived, in order; ``offsets`` their places in the room."""

    def __init__(self, origin: Origin, person: Person, room: UUID) -> None:
        self.person = person
        self.entries: list[dict[str, Any]] = []
        self.errors: list[dict[str, Any]] = []
        self.offsets: list[int] = []
        self.accepted = 0
        self._newest: dict[str, dict[str, Any]] = {}
        self._origin = origin
        self._room = room
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._reader: asyncio.Task[None] | None = None

    async def join(self) -> None:
        """Open the socket, show the token in the first frame, wait to be let in."""
        self._socket = await self._origin.session.ws_connect(f"{self._origin.url}/chat", compress=0)
        await self._socket.send_json(
            {"v": 1, "type": "join", "room": str(self._room), "token": self.person.access_token}
        )
        joined = await self._socket.receive_json(timeout=JOIN_SECONDS_MAX)
        if joined.get("type") != "joined":
            raise StepFailed("a joined frame", joined)
        self._reader = asyncio.create_task(self._read(self._socket), name=f"chat-{self.person.username}")

    @property
    def texts(self) -> list[str]:
        """What people said, in order."""
        return [entry["text"] for entry in self.entries if entry["kind"] == "message"]

    def newest(self, frame_type: str) -> dict[str, Any] | None:
        """The last frame of a type that is not messages."""
        return self._newest.get(frame_type)

    async def say(self, client_id: str, text: str) -> None:
        """Send one message; its acceptance is counted when it arrives."""
        assert self._socket is not None  # noqa: S101 -- joined before it speaks
        await self._socket.send_json({"type": "send", "id": client_id, "text": text})

    async def leave(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            await self._socket.close()
        if self._reader is not None:
            await asyncio.wait({self._reader})

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                self._take(json.loads(message.data))

    def _take(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "messages":
            self.entries += frame["messages"]
            self.offsets += [entry["offset"] for entry in frame["messages"]]
        elif frame["type"] == "accepted":
            self.accepted += 1
        elif frame["type"] == "error":
            self.errors.append(frame)
        else:
            self._newest[frame["type"]] = frame
