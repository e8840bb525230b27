"""Real publishers through the real media server: nginx-rtmp asks, we answer, and the video goes where we said."""

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import psutil
import pytest

from deploy.local import Stack
from streaming.ingest.commands import Session
from streaming.lifecycle.reaper import Reaper
from streaming.servers.nginx_rtmp import NginxRtmp, open_nginx_rtmp
from tests import engines
from tests.integration.streaming.publisher import eventually, publishing
from tests.integration.streaming.studio import SERVER, Studio, User, open_studio


class Ingest:
    """Streaming behind a media server of the test's own."""

    def __init__(self, studio: Studio, stack: Stack, media_server: NginxRtmp) -> None:
        self.studio = studio
        self.media_server = media_server
        settings = stack.environment()
        self.hls = Path(settings["LIVESTREAM_ARCHIVE_HLS_DIRECTORY"])
        self._address = settings["LIVESTREAM_STREAMING_PUBLIC_INGEST_URL"]

    def url(self, key: str) -> str:
        return f"{self._address}/{key}"

    async def status(self) -> str | None:
        """Of the newest stream."""
        rows = await self.studio.rows("SELECT status FROM streams ORDER BY stream_id DESC LIMIT 1")
        return rows[0]["status"] if rows else None

    async def until(self, *statuses: str | None, seconds_max: float = 20) -> None:
        await eventually(self.status, until=lambda status: status in statuses, seconds_max=seconds_max, what="status")

    async def stream_ids(self) -> list[str]:
        return [row["id"] for row in await self.studio.rows("SELECT stream_id::text AS id FROM streams ORDER BY 1")]

    async def session(self) -> str | None:
        rows = await self.studio.rows("SELECT client FROM open_streams")
        return rows[0]["client"] if rows else None

    def playlist(self, stream_id: str) -> str:
        path = self.hls / stream_id / "index.m3u8"
        return path.read_text() if path.exists() else ""

    def segments(self, stream_id: str) -> list[str]:
        return [line for line in self.playlist(stream_id).splitlines() if line.endswith(".ts")]

    async def until_reaped(self, reaper: Reaper, status: str) -> None:
        """Have the newest stream reaped until it is so: a sign of life that is under way may come in between."""

        async def reaped() -> str | None:
            await reaper.reap()
            return await self.status()

        await eventually(reaped, until=lambda found: found == status, what="status")

    async def until_segments(self, stream_id: str, count: int) -> None:
        async def segments() -> int:
            return len(self.segments(stream_id))

        await eventually(segments, until=lambda found: found >= count, what="segments")


@pytest.fixture
def stack(own_stack: Callable[..., Stack]) -> Stack:
    """A media server of the test's own."""
    return own_stack("nginx")


@pytest.fixture
async def ingest(database: engines.Database, stack: Stack) -> AsyncIterator[Ingest]:
    """nginx-rtmp asking the streaming service that runs in the test."""
    async with serve(database, stack) as served:
        yield served


@asynccontextmanager
async def serve(database: engines.Database, stack: Stack) -> AsyncIterator[Ingest]:
    settings = stack.environment()
    async with (
        open_nginx_rtmp(
            control_url=settings["LIVESTREAM_STREAMING_INGEST_CONTROL_URL"],
            stat_url=settings["LIVESTREAM_STREAMING_INGEST_STAT_URL"],
            application="live",
            seconds_max=4,
        ) as media_server,
        open_studio(
            database.dsn,
            media_server=media_server,
            secret=settings["LIVESTREAM_STREAMING_INGEST_SECRET"],
            push_url=settings["LIVESTREAM_STREAMING_INGEST_PUSH_URL"],
            port=stack.ports["streaming"],
        ) as studio,
    ):
        yield Ingest(studio, stack, media_server)


async def test_a_publisher_with_a_key_goes_live_under_the_streams_id(ingest: Ingest) -> None:
    _, key = await ingest.studio.channel()
    async with publishing(ingest.url(key)):
        await ingest.until("live")
        [stream_id] = await ingest.stream_ids()
        await ingest.until_segments(stream_id, 1)
    await ingest.until("interrupted")
    names = "".join(str(path) for path in ingest.hls.rglob("*"))
    assert key not in names + ingest.playlist(stream_id)
    assert [path.name for path in ingest.hls.iterdir()] == [stream_id]


async def test_a_publisher_with_a_wrong_key_is_turned_away(ingest: Ingest) -> None:
    await ingest.studio.channel()
    async with publishing(ingest.url("sk_wrong")) as publisher:
        assert await publisher.wait() != 0
    assert await ingest.stream_ids() == []
    assert list(ingest.hls.iterdir()) == []


async def test_a_publisher_cannot_speak_for_another(ingest: Ingest) -> None:
    _, key = await ingest.studio.channel("ada")
    _, victim = await ingest.studio.channel("bob")
    query = f"?name={victim}&call=publish_done&addr=8.8.8.8"
    async with publishing(ingest.url(key) + query) as publisher:
        assert await publisher.wait() != 0
    assert await ingest.stream_ids() == []


async def test_a_dropped_connection_goes_on_in_the_same_stream(ingest: Ingest) -> None:
    _, key = await ingest.studio.channel()
    async with publishing(ingest.url(key)):
        await ingest.until("live")
        [stream_id] = await ingest.stream_ids()
        await ingest.until_segments(stream_id, 1)
    await ingest.until("interrupted")
    before = len(ingest.segments(stream_id))
    async with publishing(ingest.url(key)):
        await ingest.until("live")
        await ingest.until_segments(stream_id, before + 1)
    assert await ingest.stream_ids() == [stream_id]
    assert "#EXT-X-DISCONTINUITY" in ingest.playlist(stream_id)
    assert [event["type"] for event in await ingest.studio.said()] == ["stream.started"]


async def test_a_second_publisher_takes_over_and_the_stream_goes_on(ingest: Ingest) -> None:
    _, key = await ingest.studio.channel()
    async with publishing(ingest.url(key)) as first:
        await ingest.until("live")
        [stream_id] = await ingest.stream_ids()
        await ingest.until_segments(stream_id, 1)
        old = await ingest.session()
        async with publishing(ingest.url(key)) as second:
            assert await first.wait() != 0
            await eventually(ingest.session, until=lambda session: session not in (None, old), what="session")
            before = len(ingest.segments(stream_id))
            await ingest.until_segments(stream_id, before + 2)
            assert second.returncode is None
            assert await ingest.status() == "live"
    assert await ingest.stream_ids() == [stream_id]
    assert [path.name for path in ingest.hls.iterdir()] == [stream_id]
    assert [event["type"] for event in await ingest.studio.said()] == ["stream.started"]


async def test_a_half_open_connection_locks_nobody_out(ingest: Ingest) -> None:
    _, key = await ingest.studio.channel()
    async with publishing(ingest.url(key)) as first:
        await ingest.until("live")
        [stream_id] = await ingest.stream_ids()
        await ingest.until_segments(stream_id, 1)
        old = await ingest.session()
        first.send_signal(signal.SIGSTOP)  # the connection stays, and nothing comes over it any more
        async with publishing(ingest.url(key)) as second:
            await eventually(ingest.session, until=lambda session: session not in (None, old), what="session")
            before = len(ingest.segments(stream_id))
            await ingest.until_segments(stream_id, before + 1)
            assert second.returncode is None
    assert await ingest.stream_ids() == [stream_id]


async def test_the_end_closes_the_last_segment_before_it_is_said(ingest: Ingest) -> None:
    ada = User("ada")
    answer = await ingest.studio.client.post("/api/channels/me/stream-key", headers=ada.headers)
    key = (await answer.json())["stream_key"]
    async with publishing(ingest.url(key)) as publisher:
        await ingest.until("live")
        [stream_id] = await ingest.stream_ids()
        await ingest.until_segments(stream_id, 1)
        answer = await ingest.studio.client.post(f"/api/streams/{stream_id}/end", headers=ada.headers)
        last = {path.name: path.stat().st_size for path in (ingest.hls / stream_id).glob("*.ts")}
        playlist = ingest.playlist(stream_id)
        assert (await answer.json())["status"] == "ended"
        assert await publisher.wait() != 0
    assert set(ingest.segments(stream_id)) == set(last), "every segment is in the playlist at the time of the end"
    assert ingest.playlist(stream_id) == playlist
    assert {path.name: path.stat().st_size for path in (ingest.hls / stream_id).glob("*.ts")} == last
    assert [event["type"] for event in await ingest.studio.said()] == ["stream.started", "stream.ended"]
    await ingest.until("ended")


async def test_a_frozen_publisher_is_noticed_and_its_stream_ends(ingest: Ingest) -> None:
    _, key = await ingest.studio.channel()
    async with publishing(ingest.url(key)) as publisher:
        await ingest.until("live")
        [stream_id] = await ingest.stream_ids()
        await ingest.until_segments(stream_id, 1)  # nginx watches for idleness from the first media on
        publisher.send_signal(signal.SIGSTOP)
        reaper = ingest.studio.reaper(grace_seconds=0, silence_seconds=30)
        # nginx drops a publisher that sends no media for a while, and says so
        await ingest.until("interrupted", seconds_max=40)
        await reaper.reap()
        await ingest.until("ended")
        publisher.send_signal(signal.SIGCONT)
        assert await publisher.wait() != 0
    assert await ingest.stream_ids() == [stream_id]
    assert [event["type"] for event in await ingest.studio.said()] == ["stream.started", "stream.ended"]


async def test_a_frozen_media_server_interrupts_and_its_return_resumes(ingest: Ingest, stack: Stack) -> None:
    _, key = await ingest.studio.channel()
    async with publishing(ingest.url(key)):
        await ingest.until("live")
        [stream_id] = await ingest.stream_ids()
        frozen = psutil.Process(stack.pid("nginx")).children(recursive=True)
        try:
            for process in frozen:
                process.suspend()
            await ingest.until_reaped(ingest.studio.reaper(grace_seconds=60, silence_seconds=0), "interrupted")
        finally:
            for process in frozen:
                process.resume()
        await ingest.until("live")
    assert await ingest.stream_ids() == [stream_id]
    assert [event["type"] for event in await ingest.studio.said()] == ["stream.started"]


async def test_a_publisher_whose_stream_has_ended_is_dropped_at_its_next_sign_of_life(ingest: Ingest) -> None:
    _, key = await ingest.studio.channel()
    async with publishing(ingest.url(key)) as publisher:
        await ingest.until("live")
        await ingest.until_reaped(ingest.studio.reaper(grace_seconds=0, silence_seconds=0), "ended")
        assert await publisher.wait() != 0


async def test_a_stream_counts_as_closed_only_when_nothing_is_written_any_more(ingest: Ingest) -> None:
    _, key = await ingest.studio.channel()
    async with publishing(ingest.url(key)):
        await ingest.until("live")
        [stream_id] = await ingest.stream_ids()
        await ingest.until_segments(stream_id, 1)
        assert not await ingest.media_server.wait_closed(UUID(stream_id))
    await ingest.until("interrupted")
    assert await ingest.media_server.wait_closed(UUID(stream_id))


async def test_a_client_that_is_not_there_is_not_dropped(ingest: Ingest) -> None:
    _, key = await ingest.studio.channel()
    async with publishing(ingest.url(key)) as publisher:
        await ingest.until("live")
        [stream_id] = await ingest.stream_ids()
        await ingest.until_segments(stream_id, 1)
        session = await ingest.session()
        assert session is not None
        assert not await ingest.media_server.drop(Session(SERVER, str(int(session) + 1_000_000)))
        assert publisher.returncode is None
        assert await ingest.media_server.drop(Session(SERVER, session))
        assert await publisher.wait() != 0
