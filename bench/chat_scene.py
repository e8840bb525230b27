"""What the benches of chat run: our gateways with all they have on, the peer, and the sink that holds the clients.

A gateway is `python -m chat` with Postgres, Redis and the bus on Postgres. The peer is a small server on the Go library
centrifuge (bench/chat_peer), built when a bench first needs it. Both serve the same clients (bench/chat_sink.c). The
server that is measured has the first core, everything else (sink, Redis, Postgres) the last one. Messages come from
clients that are logged in and send over their sockets; each bench says to which server these are connected.
"""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process, create_subprocess_exec
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

import aiohttp
import psutil
from aiohttp import web
from joserfc import jwt
from joserfc.jwk import OKPKey
from pydantic import SecretStr

from bench.bus_scene import fresh_database
from bench.report import Say
from chat.store import open_room
from deploy.local import Stack
from deploy.local.places import CHECKOUT
from runtime.ids import uuid7
from runtime.migrations import migrate
from runtime.postgres import connect
from runtime.tokens import ALGORITHM

PORT_BASE: Final = 21_000
CORES: Final = os.cpu_count() or 1
SERVER_CORE: Final = 0
OTHER_CORE: Final = CORES - 1
PEOPLE: Final = 500
TOKEN_SECONDS: Final = 3_600
READY_SECONDS_MAX: Final = 60.0
ANSWER_SECONDS_MAX: Final = 180.0
BUILD_SECONDS_MAX: Final = 600.0
POLL_SECONDS: Final = 0.1
WARM_UP_SECONDS: Final = 1.0

LIMITS: Final = {
    "LIVESTREAM_CHAT_MESSAGES_PER_MINUTE": "6000",
    "LIVESTREAM_CHAT_FRAMES_PER_SECOND_MAX": "10000",
    "LIVESTREAM_CHAT_CONNECTIONS_MAX": "100000",
    "LIVESTREAM_CHAT_CONNECTIONS_PER_ADDRESS_MAX": "100000",
    "LIVESTREAM_CHAT_CONNECTIONS_PER_USER_MAX": "100000",
    "LIVESTREAM_LOG_LEVEL": "warning",
}
"""Raised, because few people on one address stand for many; everything else is as delivered."""


@dataclass(frozen=True)
class Server:
    """A server that is measured, ours or the peer's."""

    port: int
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """What it has used so far."""
        times = self.process.cpu_times()
        return times.user + times.system

    def memory_bytes(self) -> int:
        """Resident now."""
        return int(self.process.memory_info().rss)


@dataclass(frozen=True)
class Crowd:
    """Who is there: readers in rooms, and those who say something."""

    readers: int
    senders: int = 20
    stalled_percent: int = 0
    rooms: Sequence[UUID] = ()


class Sink:
    """The clients, from outside; what they answer is as `chat_sink.c` says."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def join(self) -> Mapping[str, float]:
        """Connect everybody."""
        return await self._ask("join")

    async def run(self, rate: float, seconds: float, *, wait_seconds: float = 20.0) -> Mapping[str, float]:
        """Have ``rate`` messages a second said; raises RuntimeError when a sequence was not whole or a send refused."""
        told = await self._ask(f"run {rate} {seconds} {wait_seconds}")
        wrong = {name: told[name] for name in ("holes", "doubles", "refused") if told[name]}
        if wrong:
            raise RuntimeError(f"the clients saw {wrong}")
        return told

    async def drop(self) -> None:
        """Reset every reader's connection."""
        await self._ask("drop")

    async def rejoin(self) -> Mapping[str, float]:
        """Have the readers come back with their positions."""
        return await self._ask("rejoin")

    async def _ask(self, command: str) -> Mapping[str, float]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(command.encode() + b"\n")
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the sink ended at {command!r}")
        answer: dict[str, float] = json.loads(line)
        return answer


@dataclass
class Scene:
    """Engines that run, and what is built."""

    directory: Path
    stack: Stack
    environment: Mapping[str, str]
    rooms: Sequence[UUID]
    tokens: Sequence[str]
    sink_program: Path
    peer_program: Path | None

    @contextlib.asynccontextmanager
    async def gateway(self, *, core: int = SERVER_CORE, **settings: str) -> AsyncIterator[Server]:
        """One of our gateways, ready."""
        environment = {**self.environment, **settings}
        async with self._serving("chat", core, [sys.executable, "-m", "chat"], environment) as server:
            yield server

    @contextlib.asynccontextmanager
    async def peer(
        self, *, core: int = SERVER_CORE, delay_ms: int = 0, with_redis: bool = False
    ) -> AsyncIterator[Server]:
        """The peer's server, ready."""
        assert self.peer_program is not None
        environment = dict(os.environ)
        if with_redis:
            environment["CHAT_PEER_REDIS_URL"] = self.environment["LIVESTREAM_REDIS_URL"]
        command = [str(self.peer_program), f"-delay={delay_ms}ms"]
        async with self._serving("peer", core, command, environment) as server:
            yield server

    @contextlib.asynccontextmanager
    async def _serving(
        self, name: str, core: int, command: Sequence[str], environment: Mapping[str, str]
    ) -> AsyncIterator[Server]:
        port = free_port()
        own = {"LIVESTREAM_HTTP_PORT": str(port)} if name == "chat" else {}
        more = [] if name == "chat" else [f"-listen=127.0.0.1:{port}"]
        with (self.directory / f"{name}.log").open("ab") as log:
            process = await create_subprocess_exec(
                *("taskset", "-c", str(core), *command, *more),
                cwd=CHECKOUT,
                env={**environment, **own},
                stdout=log,
                stderr=log,
            )
        try:
            async with asyncio.timeout(READY_SECONDS_MAX), aiohttp.ClientSession() as session:
                await _ready(session, process, f"http://127.0.0.1:{port}/readyz")
            yield Server(port, psutil.Process(process.pid))
        finally:
            if process.returncode is None:
                process.terminate()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(READY_SECONDS_MAX):
                    await process.wait()

    @contextlib.asynccontextmanager
    async def sink(
        self, crowd: Crowd, ports: Sequence[int], sender_port: int, *, is_peer: bool = False
    ) -> AsyncIterator[Sink]:
        """Clients on the other core, not connected yet."""
        rooms, tokens = self.directory / "rooms.txt", self.directory / "tokens.txt"
        rooms.write_text("".join(f"{room}\n" for room in crowd.rooms or self.rooms[:1]))
        tokens.write_text("".join(f"{token}\n" for token in self.tokens))
        process = await create_subprocess_exec(
            *("taskset", "-c", str(OTHER_CORE), str(self.sink_program), "peer" if is_peer else "ours"),
            *(str(crowd.readers), str(crowd.senders), str(crowd.stalled_percent), str(rooms), str(tokens)),
            *(",".join(map(str, ports)), str(sender_port)),
            stdin=PIPE,
            stdout=PIPE,
        )
        try:
            yield Sink(process)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


@contextlib.asynccontextmanager
async def open_scene(directory: Path, say: Say, *, rooms: int = 1, with_peer: bool = True) -> AsyncIterator[Scene]:
    """Start Postgres and Redis below ``directory``, build what is missing, and stop everything at the end."""
    stack = Stack(directory, profile="solo", port_base=PORT_BASE)  # makes the directory
    for tool in ("taskset", "cc"):
        if shutil.which(tool) is None:
            raise RuntimeError(f"{tool} is missing: install Debian's packages gcc, libc6-dev and util-linux")
    sink = await _built_sink(directory)
    peer = await _built_peer(directory.parent, say) if with_peer else None
    await asyncio.to_thread(stack.up, stack.engines, say=say)
    try:
        for engine in stack.engines:
            _move(stack.pid(engine))
        key = OKPKey.generate_key("Ed25519", parameters={"use": "sig", "alg": ALGORITHM}, auto_kid=True)
        async with _key_set(key) as keys_url:
            dsn = await fresh_database(stack.environment()["LIVESTREAM_POSTGRES_DSN"])
            room_ids = await _make_rooms(SecretStr(dsn), rooms)
            own = {"LIVESTREAM_POSTGRES_DSN": dsn, "LIVESTREAM_JWKS_URL": keys_url}
            environment = {**os.environ, **stack.environment(), **own, **LIMITS, "PYTHONPATH": str(CHECKOUT)}
            tokens = [_token(key, number) for number in range(PEOPLE)]
            yield Scene(directory, stack, environment, room_ids, tokens, sink, peer)
    finally:
        await asyncio.to_thread(stack.down)


def _move(pid: int) -> None:
    """An engine and what it has started, threads and all, away from the measured core."""
    root = psutil.Process(pid)
    for process in (root, *root.children(recursive=True)):
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            for thread in process.threads():
                os.sched_setaffinity(thread.id, {OTHER_CORE})


async def _make_rooms(dsn: SecretStr, count: int) -> list[UUID]:
    await migrate(dsn)
    connection = await connect(dsn, schema="chat")
    try:
        rooms = [uuid7() for _ in range(count)]
        for number, room in enumerate(rooms):
            await open_room(connection, room, f"room-{number}")
    finally:
        await connection.close()
    return rooms


def _token(key: OKPKey, number: int) -> str:
    now = int(time.time())
    claims = {
        "iss": "livestream",
        "sub": str(uuid7()),
        "name": f"viewer{number}",
        "iat": now,
        "exp": now + TOKEN_SECONDS,
    }
    return jwt.encode({"alg": ALGORITHM, "kid": key.kid}, claims, key, algorithms=[ALGORITHM])


@contextlib.asynccontextmanager
async def _key_set(key: OKPKey) -> AsyncIterator[str]:
    """Where the gateways fetch the public key, as from the accounts service."""

    async def keys(_request: web.Request) -> web.Response:
        return web.json_response({"keys": [key.as_dict(private=False)]})

    application = web.Application()
    application.router.add_get("/jwks.json", keys)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{site.port}/jwks.json"
    finally:
        await runner.cleanup()


# --- programs ---------------------------------------------------------------------------------------------------------


async def _built_sink(directory: Path) -> Path:
    program, source = directory / "chat_sink", CHECKOUT / "bench/chat_sink.c"
    await _run(["cc", "-std=c11", "-O2", "-Wall", "-Wextra", str(source), "-o", str(program)], source.parent)
    return program


async def _built_peer(directory: Path, say: Say) -> Path:
    """Beside all benches' directories, so that it is built once."""
    program, source = directory / "chat_peer", CHECKOUT / "bench/chat_peer"
    if program.exists() and all(program.stat().st_mtime > path.stat().st_mtime for path in source.iterdir()):
        return program
    if shutil.which("go") is None:
        raise RuntimeError("go is missing: install Go 1.26 or newer, which builds the peer")
    say("building the peer")
    await _run(["go", "build", "-o", str(program), "."], source)
    return program


async def _run(command: Sequence[str], directory: Path) -> None:
    process = await create_subprocess_exec(*command, cwd=directory, stdout=PIPE, stderr=asyncio.subprocess.STDOUT)
    async with asyncio.timeout(BUILD_SECONDS_MAX):
        output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{command[0]} failed: {output.decode()[-2_000:]}")


async def _ready(session: aiohttp.ClientSession, process: Process, url: str) -> None:
    while True:
        if process.returncode is not None:
            raise RuntimeError("a server ended while it started; see its log below .local/bench")
        with contextlib.suppress(aiohttp.ClientConnectionError):
            async with session.get(url) as answer:
                if answer.status == 200:
                    return
        await asyncio.sleep(POLL_SECONDS)


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- figures ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Load:
    """What one run of a server took."""

    told: Mapping[str, float]
    cpu_seconds: float
    server_gets_senders: bool = True

    @property
    def deliveries(self) -> float:
        """Messages that this server brought to clients."""
        return self.told["messages"] + (self.told["sender_messages"] if self.server_gets_senders else 0)

    @property
    def cpu_us(self) -> float:
        """CPU microseconds of the server a delivery (CPU seconds a million)."""
        return self.cpu_seconds * 1e6 / max(1.0, self.deliveries)


async def loaded(
    sink: Sink, servers: Sequence[Server], rate: float, seconds: float, *, server_gets_senders: bool = True
) -> Load:
    """Run the clients against servers that they have joined."""
    began = sum(server.cpu_seconds() for server in servers)
    told = await sink.run(rate, seconds)
    return Load(told, sum(server.cpu_seconds() for server in servers) - began, server_gets_senders)


async def measured(
    scene: Scene, server: Server, crowd: Crowd, rate: float, seconds: float, *, is_peer: bool = False
) -> Load:
    """Everybody joins this server and talks a little, then the run that counts."""
    async with scene.sink(crowd, [server.port], server.port, is_peer=is_peer) as sink:
        await sink.join()
        await sink.run(rate, WARM_UP_SECONDS)
        return await loaded(sink, [server], rate, seconds)


def spread(name: str, values: Sequence[float], digits: int = 2) -> dict[str, float]:
    """Median, least and most of some runs; the median has the plain name."""
    ordered = sorted(values)
    return {
        name: round(ordered[len(ordered) // 2], digits),
        f"{name}_min": round(ordered[0], digits),
        f"{name}_max": round(ordered[-1], digits),
    }
