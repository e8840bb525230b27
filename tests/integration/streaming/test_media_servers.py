"""A stream through SRS and MediaMTX, from the publisher's key to a recording that plays and an end that is told.

Both are there themselves where their binaries are on the PATH, with `deploy/srs.conf` and `deploy/mediamtx.yml`; where
SRS is not, the requests that it sends are.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr

from archive import store as archive_store
from archive.shipping.hook_files import HookedDirectories
from archive.shipping.hooks import SegmentHooks
from archive.shipping.rows import Shipments
from eventbus.outbox import Outbox
from events import StreamEnded, StreamStarted
from runtime.http_server import HttpServer
from runtime.objects_disk import DiskObjects
from runtime.postgres import Pool, open_pool
from runtime.settings import HttpSettings, PostgresSettings
from streaming.channels.keys import digest, make_key
from streaming.ingest.commands import Dialect
from streaming.ingest.hooked_servers import HookedServer, HookedServers, SettledSecrets
from streaming.ingest.hooks import HookRules, IngestHooks
from streaming.lifecycle.publishing import Publishing
from streaming.lifecycle.reaper import Reaper
from streaming.lifecycle.reconciler import Reconciler
from streaming.servers.http_api import HttpApi
from streaming.servers.media_server import MediaServer, MediaServers
from streaming.servers.mediamtx import MediaMtx
from streaming.servers.playback import PlaybackAddresses
from streaming.servers.srs import Srs
from streaming.streams.finding import Finding
from streaming.streams.lists import StreamsQuery, read_streams
from tests import engines
from tests.free_ports import free_port
from tests.integration.archive.clips import Clip, make_clip
from tests.integration.archive.house import House, running
from tests.integration.streaming.publisher import eventually, publishing
from tests.integration.streaming.real_srs import (
    INGEST_SECRET,
    REPOSITORY,
    SEGMENT_SECRET,
    Ports,
    listens,
    needs_srs,
    running_srs,
)
from tests.integration.streaming.studio import SERVER, MediaServerTwin, Studio

MEDIAMTX, CURL = shutil.which("mediamtx"), shutil.which("curl")

Client = TestClient[web.Request, web.Application]


@dataclass
class Chain:
    """Streaming and archive behind one media server."""

    pool: Pool
    publishing: Publishing
    reconciler: Reconciler
    reaper: Reaper
    house: House
    client: Client

    async def channel(self) -> tuple[UUID, str]:
        channel_id, key = uuid4(), make_key()
        await self.pool.execute(
            "INSERT INTO channels (channel_id, name, stream_key_hash) VALUES ($1, 'ada', $2)", channel_id, digest(key)
        )
        return channel_id, key

    async def status(self) -> str | None:
        found: str | None = await self.pool.fetchval("SELECT status FROM streams")
        return found

    async def until(self, status: str) -> UUID:
        await eventually(self.status, until=lambda found: found == status, what="status")
        stream_id: UUID = await self.pool.fetchval("SELECT stream_id FROM streams")
        return stream_id

    async def tell_the_archive(self) -> None:
        """What the bus would bring it."""
        for row in await self.pool.fetch("SELECT type, data FROM outbox ORDER BY id"):
            async with self.house.outbox.transaction() as transaction:
                if row["type"] == "stream.started":
                    said = StreamStarted.model_validate_json(row["data"])
                    told: dict[str, Any] = said.model_dump(include={"stream_id", "channel_id", "title", "started_at"})
                    await archive_store.note_started(transaction.connection, channel_name="ada", **told)
                elif row["type"] == "stream.ended":
                    over = StreamEnded.model_validate_json(row["data"])
                    told = over.model_dump(include={"stream_id", "channel_id", "started_at", "ended_at"})
                    await archive_store.note_ended(transaction.connection, traceparent=None, **told)

    async def shipped(self, stream_id: UUID) -> list[int]:
        rows = await self.house.pool.fetch(
            "SELECT sequence FROM segments WHERE stream_id = $1 ORDER BY sequence", stream_id
        )
        return [row["sequence"] for row in rows]

    async def until_settled(self, stream_id: UUID) -> None:
        async def settled() -> bool:
            return await Shipments(self.house.pool).settled_among([stream_id]) == {stream_id}

        await eventually(settled, until=bool, what="not settled")


@asynccontextmanager
async def open_chain(
    database: engines.Database, root: Path, dialect: Dialect, media_server: MediaServer, *, port: int | None = None
) -> AsyncIterator[Chain]:
    for name in ("hls", "work", "server"):
        (root / name).mkdir()
    settings = PostgresSettings(postgres_dsn=database.dsn)
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(settings, schema="streaming"))
        archive_pool = await stack.enter_async_context(open_pool(settings, schema="archive"))
        objects = await stack.enter_async_context(DiskObjects(root / "objects"))
        house = House(archive_pool, objects, root / "hls", root / "work")
        outbox, servers = Outbox(pool, source="streaming"), MediaServers({"ingest-1": media_server})
        publishing_ = Publishing(outbox, pool, servers, close_seconds_max=2, on_change=lambda: None)
        hooked = HookedServer("ingest-1", dialect, SettledSecrets(SecretStr(INGEST_SECRET)), "live")
        segments = SegmentHooks(
            archive_pool,
            HookedDirectories(root / "server", root / "hls", bytes_max=1 << 24),
            SecretStr(SEGMENT_SECRET),
        )
        apis = [IngestHooks(publishing_, HookRules(HookedServers([hooked]), seconds_max=5)), segments]
        application = await HttpServer(apis, settings=HttpSettings()).application()
        client = await stack.enter_async_context(TestClient(TestServer(application, port=port)))
        reconciler = Reconciler(outbox, pool, servers, absence_seconds=2, on_change=lambda: None)
        reaper = Reaper(outbox, pool, grace_seconds=0, silence_seconds=60, on_change=lambda: None)
        yield Chain(pool, publishing_, reconciler, reaper, house, client)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return make_clip(tmp_path_factory.mktemp("clips") / "small", seconds=4, size="320x240", rate=15)


async def test_a_stream_of_srs_becomes_a_recording(database: engines.Database, tmp_path: Path, clip: Clip) -> None:
    async with open_chain(database, tmp_path, Dialect.SRS, MediaServerTwin()) as chain:
        channel_id, key = await chain.channel()
        another, _ = await chain.channel()

        async def hook(action: str, *, name: UUID = channel_id, secret: str = INGEST_SECRET, **fields: object) -> int:
            kind = "segments" if action == "on_hls" else "ingest"
            told = {"client_id": "9308h583", "app": "live", "stream": str(name), "param": f"?key={key}"}
            body = {"action": action, **told, **fields}
            return (await chain.client.post(f"/hooks/{kind}/srs/{secret}", json=body)).status

        # a channel's key opens its own name alone
        assert await hook("on_publish", name=another) == 403
        assert await hook("on_publish", param=f"?key={key}x") == 403
        assert await chain.status() is None
        assert await hook("on_publish") == 200
        stream_id = await chain.until("live")
        await chain.tell_the_archive()
        async with running(chain.house.shipper()):
            written_at = 1_700_000_000.0
            for number, (body, milliseconds) in enumerate(zip(clip.segments, clip.durations_ms, strict=True)):
                path = tmp_path / "server" / "live" / f"{channel_id}-{number}.ts"
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(body)
                written_at += milliseconds / 1000
                os.utime(path, (written_at, written_at))
                file, duration = str(path), milliseconds / 1000
                assert (
                    await hook("on_hls", secret=SEGMENT_SECRET, cwd=str(tmp_path), file=file, duration=duration) == 200
                )
            # where a viewer plays meanwhile
            assert (tmp_path / "hls" / str(stream_id) / "index.m3u8").read_text().count(".ts") == len(clip.segments)
            assert await hook("on_unpublish") == 200
            await chain.until("interrupted")
            await chain.reaper.reap()
            await chain.until("ended")
            await chain.tell_the_archive()
            await chain.until_settled(stream_id)
        assert await chain.shipped(stream_id) == list(range(len(clip.segments)))
        assert key not in _names_below(tmp_path)


async def test_a_live_stream_plays_where_its_server_says(studio: Studio) -> None:
    template = "https://media.example/live/{channel_id}.m3u8"
    channel_id, key = await studio.channel("ada")
    await studio.publish(key)
    addresses = [PlaybackAddresses(servers) for servers in ({}, {"another": template}, {SERVER: template})]
    found = []
    for address in addresses:
        page = await address.corrected(read_streams)(studio.pool, StreamsQuery())
        [listed] = page.items
        one = await Finding(studio.pool, address).find(listed.stream_id)
        assert one.playback_url == listed.playback_url
        found.append(one.playback_url)
    at_the_edge = f"/live/{listed.stream_id}/index.m3u8"
    assert found == [at_the_edge, at_the_edge, f"https://media.example/live/{channel_id}.m3u8"]


def configuration(directory: Path, *, http: int, rtmp: int, control: int) -> Path:
    """`deploy/mediamtx.yml` with the test's ports, secrets and directory."""
    text = (REPOSITORY / "deploy/mediamtx.yml").read_text()
    for ours, theirs in (
        ("INGEST-SECRET", INGEST_SECRET),
        ("SEGMENT-SECRET", SEGMENT_SECRET),
        ("127.0.0.1:8101", f"127.0.0.1:{http}"),
        ("127.0.0.1:8102", f"127.0.0.1:{http}"),
        ("127.0.0.1:9997", f"127.0.0.1:{control}"),
        ("rtmpAddress: :1935", f"rtmpAddress: 127.0.0.1:{rtmp}"),
        ("srt: yes", "srt: no"),
        ("/var/lib/livestream/mediamtx", str(directory / "server")),
    ):
        assert ours in text
        text = text.replace(ours, theirs)
    (directory / "mediamtx.yml").write_text(text)
    return directory / "mediamtx.yml"


@pytest.mark.skipif(MEDIAMTX is None or CURL is None, reason="there is no mediamtx, or no curl, on the PATH")
async def test_a_stream_of_mediamtx_becomes_a_recording(database: engines.Database, tmp_path: Path) -> None:
    assert MEDIAMTX is not None
    http, rtmp, control = (free_port() for _ in range(3))
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        api = HttpApi(session, f"http://127.0.0.1:{control}", authorization=None, seconds_max=2)
        media_server = MediaMtx(api, application="live")
        chain = await stack.enter_async_context(
            open_chain(database, tmp_path, Dialect.MEDIAMTX, media_server, port=http)
        )
        log = stack.enter_context((tmp_path / "mediamtx.log").open("wb"))
        process = await asyncio.create_subprocess_exec(
            MEDIAMTX,
            str(configuration(tmp_path, http=http, rtmp=rtmp, control=control)),
            cwd=tmp_path,
            stdin=DEVNULL,
            stdout=log,
            stderr=log,
        )
        stack.push_async_callback(process.wait)
        stack.callback(process.kill)  # it waits for 5 s when it is asked to end
        await eventually(lambda: listens(rtmp), until=bool, what="MediaMTX does not listen")
        channel_id, key = await chain.channel()
        address = f"rtmp://127.0.0.1:{rtmp}/live/{channel_id}"
        async with publishing(f"{address}?key=sk_wrong") as refused:
            assert await refused.wait() != 0
        assert await chain.status() is None
        await _goes_through(chain, f"{address}?key={key}", address)
        assert key not in _names_below(tmp_path)


@asynccontextmanager
async def srs_chain(
    database: engines.Database, directory: Path, port_of: Callable[[], int]
) -> AsyncIterator[tuple[Chain, Srs, Ports]]:
    """Streaming and archive behind an SRS that is yet to be started."""
    ports = Ports(port_of(), port_of(), port_of())
    async with aiohttp.ClientSession() as session:
        api = HttpApi(session, f"http://127.0.0.1:{ports.control}", authorization=None, seconds_max=2)
        server = Srs(api, application="live")
        async with open_chain(database, directory, Dialect.SRS, server, port=ports.hooks) as chain:
            yield chain, server, ports


@needs_srs
async def test_a_stream_of_srs_itself_becomes_a_recording(database: engines.Database, tmp_path: Path) -> None:
    async with (
        srs_chain(database, tmp_path, free_port) as (chain, server, ports),
        running_srs(tmp_path, ports),
    ):
        channel_id, key = await chain.channel()
        another, _ = await chain.channel()
        address = f"rtmp://127.0.0.1:{ports.rtmp}/live"
        for wrong in (f"{channel_id}?key={key}x", f"{another}?key={key}", f"{channel_id}"):
            async with publishing(f"{address}/{wrong}") as refused:
                assert await asyncio.wait_for(refused.wait(), 10) != 0
        assert await server.publishers() == []
        assert await chain.status() is None
        refusals_logged = (tmp_path / "srs.log").stat().st_size
        stream_id = await _goes_through(chain, f"{address}/{channel_id}?key={key}", f"{address}/{channel_id}")
        written = list((tmp_path / "server/live").glob("*.ts"))
        assert await chain.shipped(stream_id) == list(range(len(written)))
        assert key not in _names_below(tmp_path)
        assert key.encode() not in (tmp_path / "srs.log").read_bytes()[refusals_logged:]


@needs_srs
async def test_a_stream_outlives_its_publisher_and_its_srs(database: engines.Database, tmp_path: Path) -> None:
    async with srs_chain(database, tmp_path, free_port) as (chain, server, ports):
        channel_id, key = await chain.channel()
        address = f"rtmp://127.0.0.1:{ports.rtmp}/live/{channel_id}?key={key}"

        async def files() -> int:
            return len(list((tmp_path / "hls").rglob("*.ts")))

        async def shows(more: int) -> None:
            there = await files()
            await eventually(files, until=lambda found: found >= there + more, what="no segment was handed over")

        async with running_srs(tmp_path, ports) as srs:
            async with publishing(address) as first:
                stream_id = await chain.until("live")
                await chain.tell_the_archive()
                await shows(1)
                # a half-open connection keeps nobody out
                async with publishing(address) as second:
                    assert await asyncio.wait_for(first.wait(), 10) != 0
                    [publisher] = await server.publishers()
                    assert second.returncode is None
            # who leaves is told of by a hook
            await chain.until("interrupted")
            async with publishing(address) as third:
                assert await chain.until("live") == stream_id
                [another] = await server.publishers()
                assert another.client != publisher.client
                await shows(1)
                # whom it had when it died, it tells nobody of
                srs.kill()
                await asyncio.wait_for(srs.wait(), 10)
                assert await asyncio.wait_for(third.wait(), 10) != 0
                assert await chain.status() == "live"
        async with running_srs(tmp_path, ports):

            async def reconciled() -> str | None:
                await chain.reconciler.reconcile("ingest-1")
                return await chain.status()

            await eventually(reconciled, until=lambda status: status == "interrupted", what="not reconciled")
            async with publishing(address), running(chain.house.shipper()):
                assert await chain.until("live") == stream_id
                await shows(2)  # its numbers begin anew
                await chain.publishing.end(stream_id)
                await chain.tell_the_archive()
                await chain.until_settled(stream_id)
        assert await chain.shipped(stream_id) == list(range(await files()))
        assert await chain.pool.fetchval("SELECT array_agg(type ORDER BY id) FROM outbox") == [
            "stream.started",
            "stream.ended",
        ]


async def _goes_through(chain: Chain, address: str, public: str) -> UUID:
    async with running(chain.house.shipper()), publishing(address) as publisher:
        stream_id = await chain.until("live")
        await chain.tell_the_archive()
        # whoever would watch past the edge is refused
        watcher = await asyncio.create_subprocess_exec(
            "ffprobe", "-v", "quiet", "-rw_timeout", "5000000", public, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL
        )
        assert await watcher.wait() != 0

        async def shipped() -> int:
            return len(await chain.shipped(stream_id))

        await eventually(shipped, until=lambda found: found >= 1, what="no segment was shipped")
        # a hook that was lost, or a service that was away: the media server is asked, and it is as before
        await chain.pool.execute(
            "UPDATE open_streams SET status = 'interrupted', interrupted_at = now(), silent = true"
        )
        await chain.pool.execute("UPDATE streams SET status = 'interrupted'")
        await chain.reconciler.reconcile("ingest-1")
        assert await chain.status() == "live"
        await chain.publishing.end(stream_id)
        assert await chain.status() == "ended"
        await asyncio.wait_for(publisher.wait(), 10)
        await chain.tell_the_archive()
        await chain.until_settled(stream_id)
    assert await chain.pool.fetchval("SELECT array_agg(type ORDER BY id) FROM outbox") == [
        "stream.started",
        "stream.ended",
    ]
    return stream_id


def _names_below(directory: Path) -> str:
    return "".join(str(path) for path in directory.rglob("*"))
