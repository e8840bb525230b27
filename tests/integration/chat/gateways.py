"""Chat gateways as processes, tokens for people, and clients that keep their position as the protocol says."""

import asyncio
import json
import os
import signal
import sys
import time
from asyncio.subprocess import Process, create_subprocess_exec
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer
from joserfc import jwt
from joserfc.jwk import OKPKey

from chat.sockets.frames import SERVER_FRAME
from runtime.ids import uuid7
from runtime.tokens import ALGORITHM
from tests.free_ports import free_port

REPOSITORY = Path(__file__).parents[3]
WAIT_SECONDS = 30.0


@dataclass(frozen=True)
class Person:
    """Somebody with an account."""

    name: str
    user_id: UUID = field(default_factory=uuid7)


class Accounts:
    """Signs access tokens and publishes the key, as the accounts service does."""

    def __init__(self) -> None:
        self._key = OKPKey.generate_key("Ed25519", auto_kid=True)

    def token(self, person: Person) -> str:
        now = int(time.time())
        claims = {
            "iss": "livestream", "sub": str(person.user_id), "name": person.name,
            "iat": now, "exp": now + 600, "jti": str(uuid7()),
        }  # fmt: skip
        return jwt.encode({"alg": ALGORITHM, "kid": self._key.kid}, claims, self._key, algorithms=[ALGORITHM])

    def key_set(self) -> dict[str, Any]:
        """The public key, as a JSON Web Key Set."""
        return {"keys": [self._key.as_dict(private=False)]}

    @asynccontextmanager
    async def published(self) -> AsyncIterator[str]:
        """The URL of the key set."""

        async def keys(_: web.Request) -> web.Response:
            return web.json_response(self.key_set())

        application = web.Application()
        application.router.add_get("/.well-known/jwks.json", keys)
        async with TestServer(application) as server:
            yield str(server.make_url("/.well-known/jwks.json"))


@dataclass
class Gateway:
    """One `python -m chat`."""

    port: int
    process: Process
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def ready(self, session: aiohttp.ClientSession, path: str = "/readyz") -> None:
        async def answers() -> bool:
            assert self.process.returncode is None, self.log.read_text()[-4_000:]
            with suppress(aiohttp.ClientError):
                async with session.get(self.url + path) as answer:
                    return answer.status == 200
            return False

        await eventually(answers)

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), WAIT_SECONDS)


class Site:
    """Starts gateways that share one database, one Redis and one bus."""

    def __init__(self, environment: dict[str, str], accounts: Accounts, logs: Path) -> None:
        self.accounts = accounts
        self.session = aiohttp.ClientSession()
        self._environment = environment
        self._logs = logs
        self._gateways: list[Gateway] = []

    async def start(self, port: int | None = None, *, ready: bool = True) -> Gateway:
        """One more gateway, ready or at least there."""
        port = port or free_port()
        log = self._logs / f"chat-{port}-{len(self._gateways)}.log"
        with log.open("w") as output:
            process = await create_subprocess_exec(
                sys.executable, "-m", "chat", cwd=REPOSITORY, stdout=output, stderr=output,
                env={**self._environment, "LIVESTREAM_HTTP_PORT": str(port)},
            )  # fmt: skip
        gateway = Gateway(port, process, log)
        self._gateways.append(gateway)
        await gateway.ready(self.session, "/readyz" if ready else "/livez")
        return gateway

    async def close(self) -> None:
        for gateway in self._gateways:
            if gateway.process.returncode is None:
                await gateway.kill()
        await self.session.close()

    def client(self, room: UUID, person: Person | None = None) -> "Client":
        return Client(self.session, room, None if person is None else self.accounts.token(person))


class Client:
    """A chat client that keeps its position over reconnects. ``seen`` has texts, the kinds of
    other entries as ``<kind>``, and GAP where it was told of one.
    """

    GAP = "<gap>"

    def __init__(self, session: aiohttp.ClientSession, room: UUID, token: str | None) -> None:
        self.seen: list[str] = []
        self.offsets: list[int | None] = []
        self.arrived: dict[str, float] = {}
        self.frames: list[dict[str, Any]] = []
        self.close_code: int | None = None
        self.recoveries: list[bool] = []
        self._position: dict[str, Any] | None = None
        self._session = session
        self._room = room
        self._token = token
        self._ws: aiohttp.ClientWebSocketResponse | None = None
        self._reader: asyncio.Task[None] | None = None
        self._joined = asyncio.Event()

    async def join(self, gateway: Gateway) -> None:
        """Connect and wait to be let in."""
        self._joined.clear()
        self.close_code = None
        self._ws = await self._session.ws_connect(f"{gateway.url}/chat", compress=0)
        join = {"type": "join", "v": 1, "room": str(self._room), "token": self._token}
        await self._ws.send_json(join if self._position is None else join | {"since": self._position})
        self._reader = asyncio.create_task(self._read(self._ws))
        await asyncio.wait_for(self._joined.wait(), WAIT_SECONDS)

    async def send(self, client_id: str, text: str) -> None:
        assert self._ws is not None
        await self._ws.send_json({"type": "send", "id": client_id, "text": text})

    async def say(self, client_id: str, text: str) -> dict[str, Any]:
        """Send and wait for what the gateway says of it."""
        await self.send(client_id, text)
        await eventually(lambda: any(frame.get("id") == client_id for frame in self.frames))
        return next(frame for frame in self.frames if frame.get("id") == client_id)

    async def leave(self) -> None:
        if self._ws is not None:
            await self._ws.close()
        if self._reader is not None:
            await asyncio.wait([self._reader])

    @property
    def gone(self) -> bool:
        return self._reader is None or self._reader.done()

    def kinds(self) -> list[str]:
        return [frame["type"] for frame in self.frames]

    async def _read(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        async for received in ws:
            if received.type is aiohttp.WSMsgType.TEXT:
                SERVER_FRAME.validate_json(received.data)
                self._take(json.loads(received.data))
        self.close_code = ws.close_code

    def _take(self, frame: dict[str, Any]) -> None:
        self.frames.append(frame)
        if frame["type"] == "joined":
            if self._position is not None:
                self.recoveries.append(frame["recovered"])
                if not frame["recovered"]:
                    self._told()
            self._messages(frame["history"], frame["epoch"])
            self._position = {"offset": frame["offset"], "epoch": frame["epoch"]}
            self._joined.set()
        elif frame["type"] == "gap":
            self._told()
            self._messages(frame["history"], frame["epoch"])
            self._position = {"offset": frame["offset"], "epoch": frame["epoch"]}
        elif frame["type"] == "messages":
            self._messages(frame["messages"], frame["epoch"])

    def _told(self) -> None:
        self.seen.append(self.GAP)
        self.offsets.append(None)

    def _messages(self, messages: list[dict[str, Any]], epoch: str) -> None:
        for message in messages:
            text = message.get("text", f"<{message['kind']}>")
            self.seen.append(text)
            self.offsets.append(message["offset"])
            self.arrived[text] = time.monotonic()
            self._position = {"offset": message["offset"], "epoch": epoch}

    def assert_no_silent_hole(self) -> None:
        """Between two tellings of a possible loss the offsets count up by one."""
        before: int | None = None
        for offset in self.offsets:
            assert before is None or offset is None or offset == before + 1, self.offsets
            before = offset


def chat_environment(stack: dict[str, str], **changes: str) -> dict[str, str]:
    """The environment of a gateway: nothing of this process's own LIVESTREAM_ variables but what is given."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LIVESTREAM_")}
    # All tests have one address, and poll.
    return {**inherited, "LIVESTREAM_LIMIT_API_PER_MINUTE": "100000", **stack, "PYTHONPATH": str(REPOSITORY), **changes}


async def create_topics(environment: dict[str, str]) -> None:
    """Make the topics of the contract, under the environment's prefix."""
    process = await create_subprocess_exec(sys.executable, "-m", "console", "topics", "create", env=environment)
    assert await asyncio.wait_for(process.wait(), 60) == 0


async def eventually(condition: Callable[[], bool | Awaitable[bool]], seconds: float = WAIT_SECONDS) -> None:
    """Wait for a condition; TimeoutError when it is not met in time."""
    async with asyncio.timeout(seconds):
        while True:
            answer = condition()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(0.02)
