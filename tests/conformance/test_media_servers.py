"""Every media server that we ask and tell does as the port says: nginx-rtmp itself, and the others' twins.

SRS and MediaMTX are also asked themselves where their binaries are on the PATH.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from deploy.local import Stack
from streaming.errors import MediaServerUnavailable
from streaming.ingest.commands import Session
from streaming.servers.ant_media import AntMedia
from streaming.servers.http_api import HttpApi
from streaming.servers.media_server import MediaServer
from streaming.servers.mediamtx import MediaMtx
from streaming.servers.nginx_rtmp import open_nginx_rtmp
from streaming.servers.srs import Srs
from tests.conformance.media_server_twins import (
    AntMediaTwin,
    Connection,
    Listener,
    MediaMtxTwin,
    SrsTwin,
    Twin,
    any_id,
    serving,
)
from tests.free_ports import free_port
from tests.integration.streaming.publisher import eventually, publishing
from tests.integration.streaming.real_srs import Ports, needs_srs, running_srs

SECONDS_MAX = 10.0
IMPATIENT_SECONDS_MAX = 1.0
AUTHORIZATION = "Bearer of-the-tests"
MEDIAMTX = shutil.which("mediamtx")


@dataclass
class World:
    """A media server that people publish to."""

    server: MediaServer
    publish: Callable[[str, str], Awaitable[str]]
    """Publish under a name to an application; the client as hooks give it."""
    leave: Callable[[str], Awaitable[None]]
    twin: Twin | None = None

    async def until_publishing(self, *clients: str) -> None:
        async def publishing_now() -> set[str]:
            return {publisher.client for publisher in await self.server.publishers()}

        await eventually(publishing_now, until=lambda found: found == set(clients), what="publishers")


@asynccontextmanager
async def twin_world(
    twin: Twin, kind: type[Srs] | type[MediaMtx] | type[AntMedia], *, seconds_max: float = SECONDS_MAX
) -> AsyncIterator[World]:
    async def publish(name: str, application: str) -> str:
        client = name if kind is AntMedia else any_id()
        return twin.add(Connection(client, name, application))

    async def leave(client: str) -> None:
        twin.remove(client)

    async with serving(twin) as address, aiohttp.ClientSession() as http:
        api = HttpApi(http, address, authorization=AUTHORIZATION, seconds_max=seconds_max)
        yield World(kind(api, application="live"), publish, leave, twin)


@asynccontextmanager
async def real_world(server: MediaServer, listener: Listener, address: str) -> AsyncIterator[World]:
    """ffmpeg publishes to a real media server at `address`, whose hooks the listener hears."""
    async with AsyncExitStack() as stack:
        publishers: dict[str, AsyncExitStack] = {}

        async def publish(name: str, application: str) -> str:
            known = len(listener.clients)
            own = await stack.enter_async_context(AsyncExitStack())
            await own.enter_async_context(publishing(f"{address}/{application}/{name}"))

            async def heard() -> int:
                return len(listener.clients)

            await eventually(heard, until=lambda clients: clients > known, what="no hook")
            publishers[listener.clients[-1]] = own
            return listener.clients[-1]

        async def leave(client: str) -> None:
            await publishers[client].aclose()

        yield World(server, publish, leave)


@asynccontextmanager
async def nginx_world(stack: Stack) -> AsyncIterator[World]:
    settings, listener = stack.environment(), Listener()
    rtmp = settings["LIVESTREAM_STREAMING_PUBLIC_INGEST_URL"].rpartition("/")[0]
    async with (
        listener.listening(stack.ports["streaming"]),
        open_nginx_rtmp(
            control_url=settings["LIVESTREAM_STREAMING_INGEST_CONTROL_URL"],
            stat_url=settings["LIVESTREAM_STREAMING_INGEST_STAT_URL"],
            application="live",
            seconds_max=SECONDS_MAX,
        ) as server,
        real_world(server, listener, rtmp) as world,
    ):
        yield world


@asynccontextmanager
async def mediamtx_world(directory: Path, port_of: Callable[[], int]) -> AsyncIterator[World]:
    assert MEDIAMTX is not None
    listener, rtmp, control = Listener(), port_of(), port_of()
    async with AsyncExitStack() as stack:
        hooks = await stack.enter_async_context(listener.listening())
        lines = [
            *("authMethod: http", f"authHTTPAddress: {hooks}", "authHTTPExclude: [{action: api}]", "api: yes"),
            *(f"apiAddress: 127.0.0.1:{control}", f"rtmpAddress: 127.0.0.1:{rtmp}", "paths: {all_others: }"),
            *(f"{protocol}: no" for protocol in ("rtsp", "hls", "webrtc", "srt", "moq")),
        ]
        (directory / "mediamtx.yml").write_text("\n".join(lines))
        process = await asyncio.create_subprocess_exec(
            MEDIAMTX, str(directory / "mediamtx.yml"), cwd=directory, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL
        )
        stack.push_async_callback(process.wait)
        stack.callback(process.kill)
        http = await stack.enter_async_context(aiohttp.ClientSession())
        api = HttpApi(http, f"http://127.0.0.1:{control}", authorization=None, seconds_max=SECONDS_MAX)
        server = MediaMtx(api, application="live")

        async def answers() -> bool:
            try:
                return not await server.publishers()
            except MediaServerUnavailable:
                return False

        await eventually(answers, until=bool, what="MediaMTX does not answer")
        world = await stack.enter_async_context(real_world(server, listener, f"rtmp://127.0.0.1:{rtmp}"))
        yield world


@asynccontextmanager
async def srs_world(directory: Path, port_of: Callable[[], int]) -> AsyncIterator[World]:
    listener, ports = Listener(), Ports(port_of(), port_of(), port_of())
    async with listener.listening(ports.hooks), running_srs(directory, ports), aiohttp.ClientSession() as http:
        api = HttpApi(http, f"http://127.0.0.1:{ports.control}", authorization=None, seconds_max=SECONDS_MAX)
        async with real_world(Srs(api, application="live"), listener, f"rtmp://127.0.0.1:{ports.rtmp}") as world:
            yield world


@pytest.fixture(
    params=[
        "nginx-rtmp",
        "srs",
        "mediamtx",
        "ant-media",
        pytest.param("real-srs", marks=needs_srs),
        pytest.param(
            "real-mediamtx", marks=pytest.mark.skipif(MEDIAMTX is None, reason="there is no mediamtx on the PATH")
        ),
    ]
)
async def world(
    request: pytest.FixtureRequest,
    module_stack: Callable[..., Stack],
    tmp_path: Path,
) -> AsyncIterator[World]:
    """Each of them in turn."""
    match request.param:
        case "nginx-rtmp":
            opened = nginx_world(module_stack("nginx"))
        case "srs":
            opened = twin_world(SrsTwin(), Srs)
        case "mediamtx":
            opened = twin_world(MediaMtxTwin(), MediaMtx)
        case "ant-media":
            opened = twin_world(AntMediaTwin(), AntMedia)
        case "real-srs":
            opened = srs_world(tmp_path, free_port)
        case _:
            opened = mediamtx_world(tmp_path, free_port)
    async with opened as found:
        yield found


async def test_publishers_are_told_from_others_and_dropped(world: World) -> None:
    assert await world.server.publishers() == []
    one, other = await world.publish("one", "live"), await world.publish("other", "live")
    if world.twin is not None:
        world.twin.add(Connection(any_id(), "watched", publishes=False))
        world.twin.add(Connection(any_id(), "theirs", application="another"))
    await world.until_publishing(one, other)
    assert await world.server.drop(Session("any", one)) is True
    await world.until_publishing(other)
    assert await world.server.drop(Session("any", one)) is False
    await world.leave(other)
    await world.until_publishing()
    assert await world.server.drop(Session("any", other)) is False


@pytest.mark.parametrize("client", ["4294967295", "0c6cc9ff-38a2-4a3b-a9a7-1a4d5a9e4d5a"])
async def test_nobody_else_is_dropped(world: World, client: str) -> None:
    assert await world.server.drop(Session("any", client)) is False


TWINS: dict[str, tuple[type[Twin], type[Srs] | type[MediaMtx] | type[AntMedia]]] = {
    "srs": (SrsTwin, Srs),
    "mediamtx": (MediaMtxTwin, MediaMtx),
    "ant-media": (AntMediaTwin, AntMedia),
}


@pytest.fixture(params=TWINS)
async def twin_of(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """Each of those that answer as we tell them to."""
    twin, kind = TWINS[request.param]
    async with twin_world(twin(), kind) as found:
        yield found


async def test_a_drop_takes_until_the_stream_is_free(twin_of: World) -> None:
    client = await twin_of.publish("one", "live")
    assert await twin_of.server.drop(Session("any", client)) is True
    assert await twin_of.server.publishers() == []


async def test_all_of_many_are_told(twin_of: World) -> None:
    clients = {await twin_of.publish(f"name-{number}", "live") for number in range(120)}
    assert {publisher.client for publisher in await twin_of.server.publishers()} == clients


@pytest.mark.parametrize(
    "failing",
    [
        web.Response(status=500),
        web.Response(status=401),
        web.Response(status=302),
        web.Response(body=b""),
        web.Response(body=b"<html>"),
        web.Response(body=b'{"code":0,"clients":[{"id":[]}],"pageCount":1,"items":[{}]}'),
        web.Response(body=b"[{}]"),
    ],
    ids=lambda failing: f"{failing.status}-{failing.body!r}",
)
async def test_what_is_not_understood_is_no_answer(twin_of: World, failing: web.Response) -> None:
    assert twin_of.twin is not None
    twin_of.twin.failing = failing
    with pytest.raises(MediaServerUnavailable):
        await twin_of.server.publishers()
    if failing.status != 200:
        with pytest.raises(MediaServerUnavailable):
            await twin_of.server.drop(Session("any", any_id()))


@pytest.mark.parametrize("name", TWINS)
async def test_a_slow_one_and_one_that_is_away_are_no_answer(name: str) -> None:
    made, kind = TWINS[name]
    twin = made()
    twin.seconds = 30
    began = time.monotonic()
    async with twin_world(twin, kind, seconds_max=IMPATIENT_SECONDS_MAX) as slow:
        with pytest.raises(MediaServerUnavailable):
            await slow.server.publishers()
        assert time.monotonic() - began < twin.seconds / 2
    async with aiohttp.ClientSession() as http:
        away = HttpApi(http, "http://127.0.0.1:9", authorization=None, seconds_max=SECONDS_MAX)
        for server in (
            Srs(away, application="live"),
            MediaMtx(away, application="live"),
            AntMedia(away, application="live"),
        ):
            with pytest.raises(MediaServerUnavailable):
                await server.publishers()
            with pytest.raises(MediaServerUnavailable):
                await server.drop(Session("any", "1"))


async def test_the_api_is_shown_who_asks(twin_of: World) -> None:
    assert twin_of.twin is not None
    await twin_of.server.publishers()
    assert {request.headers["Authorization"] for request in twin_of.twin.asked} == {AUTHORIZATION}


async def test_a_name_that_is_a_key_is_dropped_without_being_told() -> None:
    key = "sk_" + "a" * 43
    async with twin_world(AntMediaTwin(), AntMedia) as world:
        await world.publish(key, "live")
        [publisher] = await world.server.publishers()
        assert key not in publisher.client
        assert await world.server.drop(Session("any", publisher.client)) is True
        assert await world.server.publishers() == []


@pytest.mark.parametrize("kind", ["rtmpConn", "srtConn", "webRTCSession", "rtspSession"])
async def test_a_publisher_of_mediamtx_is_kicked_whatever_it_speaks(kind: str) -> None:
    async with twin_world(MediaMtxTwin(), MediaMtx) as world:
        assert world.twin is not None
        client = world.twin.add(Connection(any_id(), "one", kind=kind))
        assert await world.server.drop(Session("any", client)) is True
        assert world.twin.find(client) is None
