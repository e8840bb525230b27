"""Chat beside recordings: at the right second, for whoever may see the recording, without what was taken back."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from chat.log import store as log_store
from chat.log.store import LoggedMessage
from chat.replay import recordings
from chat.replay.api import ReplayApi
from chat.rooms.entries import Said
from eventbus.outbox import Outbox
from events import (
    DeleteReason,
    EndReason,
    Envelope,
    Event,
    RecordingDeleted,
    RecordingPublished,
    RecordingRestored,
    RecordingVisibilityChanged,
    StreamEnded,
    StreamStarted,
    TimelineAnchor,
    Visibility,
)
from runtime.http_server import HttpServer
from runtime.ids import uuid7, uuid7_floor
from runtime.postgres import Pool, open_pool
from runtime.settings import HttpSettings, PostgresSettings
from tests.contract.held_client import HeldClient, held_client
from tests.engines import Database
from tests.integration.notify.processes import NamesInTokens

STREAM, CLIP, CUT_AGAIN = uuid7(), uuid7(), uuid7()
START = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
SAID_SECONDS = (-5, 2, 8, 25, 45, 55, 70)
"""After the start. The recording goes on for 10 s, is away until second 40, and goes on for 20 more."""


@dataclass
class Place:
    """A room with a stream behind it."""

    pool: Pool
    client: HeldClient
    room: UUID
    ids: dict[int, UUID]

    async def hear(self, event: Event) -> None:
        """What a member of the group does with an event."""
        handler = recordings.subscription().handlers[type(event)]
        async with Outbox(self.pool, source="chat").transaction() as transaction:
            await handler(transaction, Envelope(id=uuid7(), source="test", time=START, event=event))

    async def started(self) -> None:
        await self.hear(
            StreamStarted(
                stream_id=STREAM, channel_id=self.room, channel_name="ada", title="", category=None, started_at=START
            )
        )

    async def ended(self) -> None:
        await self.hear(
            StreamEnded(
                stream_id=STREAM,
                channel_id=self.room,
                started_at=START,
                ended_at=START + timedelta(seconds=60),
                reason=EndReason.STREAMER,
            )
        )

    async def published(self, stream_id: UUID = STREAM, duration_seconds: float = 30, **more: Any) -> None:  # noqa: ANN401  fields of the event
        await self.hear(
            RecordingPublished(
                stream_id=stream_id,
                channel_id=self.room,
                duration_seconds=duration_seconds,
                playback_path="/recordings/x/master.m3u8",
                published_at=START,
                **more,
            )
        )

    async def published_whole(self, **more: Any) -> None:  # noqa: ANN401  fields of the event
        anchors = (
            TimelineAnchor(at_seconds=0, at=START),
            TimelineAnchor(at_seconds=10, at=START + timedelta(seconds=40)),
        )
        await self.published(timeline=anchors, **more)

    async def shown(self, query: str = "", *, stream_id: UUID = STREAM, token: str | None = None) -> list[Any]:
        """Where what was said is shown: the second of the recording, and when it was really said."""
        answer = await self.client.get(f"/api/archives/{stream_id}/chat{query}", token=token)
        assert answer.status == 200, answer.body
        return [(item["at_seconds"], int(item["text"])) for item in answer.body["items"]]

    async def status(self, stream_id: UUID = STREAM, token: str | None = None) -> int:
        return (await self.client.get(f"/api/archives/{stream_id}/chat", token=token)).status


def id_at(seconds: int) -> UUID:
    return UUID(int=uuid7_floor(START + timedelta(seconds=seconds)).int | uuid7().int & ((1 << 80) - 1))


@pytest.fixture
async def place(database: Database) -> AsyncIterator[Place]:
    room, apis = uuid7(), []
    async with open_pool(PostgresSettings(postgres_dsn=database.dsn), schema="chat") as pool:
        ids = {seconds: id_at(seconds) for seconds in SAID_SECONDS}
        messages = [
            LoggedMessage(
                room, "epoch", place,
                Said(
                    message_id=ids[seconds], user_id=uuid7(), username="bob", text=str(seconds),
                    sent_at=START + timedelta(seconds=seconds),
                ),
                STREAM,
            )
            for place, seconds in enumerate(SAID_SECONDS, 1)
        ]  # fmt: skip
        async with pool.acquire() as connection:
            await log_store.insert(connection, messages)
        apis = [ReplayApi(pool)]
        server = HttpServer(apis, settings=HttpSettings(), verifier=NamesInTokens())
        async with held_client(server, apis) as client:
            yield Place(pool, client, room, ids)


async def test_what_was_said_comes_at_its_second_also_behind_an_interruption(place: Place) -> None:
    await place.started()
    await place.ended()
    await place.published_whole()
    assert await place.shown() == [(2, 2), (8, 8), (10, 25), (15, 45), (25, 55)]
    assert await place.shown("?from=8&to=10") == [(8, 8)]
    assert await place.shown("?from=10") == [(10, 25), (15, 45), (25, 55)]
    first = (await place.client.get(f"/api/archives/{STREAM}/chat?limit=2")).body
    assert [item["text"] for item in first["items"]] == ["2", "8"]
    assert await place.shown(f"?limit=3&cursor={first['next_cursor']}") == [(10, 25), (15, 45), (25, 55)]


async def test_a_running_stream_is_replayed_from_its_start(place: Place) -> None:
    assert await place.status() == 404
    await place.started()
    assert await place.shown() == [(2, 2), (8, 8), (25, 25), (45, 45), (55, 55), (70, 70)]
    await place.ended()
    assert await place.shown() == [(2, 2), (8, 8), (25, 25), (45, 45), (55, 55)]


async def test_a_clip_shows_its_part_and_so_does_a_clip_of_it(place: Place) -> None:
    await place.published_whole()
    await place.published(CLIP, 16, clip_of=STREAM, clip_from_seconds=5)
    await place.published(CUT_AGAIN, 4, clip_of=CLIP, clip_from_seconds=8)
    assert await place.shown(stream_id=CLIP) == [(3, 8), (5, 25), (10, 45)]
    assert await place.shown(stream_id=CUT_AGAIN) == [(2, 45)]


async def test_who_may_not_see_a_recording_reads_nothing_of_it(place: Place) -> None:
    owner, other = f"{place.room}/ada", f"{uuid7()}/bob"
    await place.published_whole(visibility=Visibility.PRIVATE)
    await place.started()
    assert (await place.status(), await place.status(token=other)) == (404, 404)
    assert len(await place.shown(token=owner)) == 5
    about = {"stream_id": STREAM, "channel_id": place.room}
    await place.hear(RecordingVisibilityChanged(**about, visibility=Visibility.UNLISTED, changed_at=START))
    assert (await place.status(), await place.status(token=other)) == (200, 200)
    gone = RecordingDeleted(**about, reason=DeleteReason.OWNER, deleted_at=START, purge_at=START)
    await place.hear(gone)
    assert (await place.status(), await place.status(token=owner)) == (404, 404)
    await place.hear(RecordingRestored(**about, restored_at=START))
    assert await place.status() == 200
    assert (await place.client.get("/api/archives/no-id/chat")).status == 422


async def test_a_private_recording_stays_private_whatever_comes_first(place: Place) -> None:
    await place.hear(
        RecordingVisibilityChanged(
            stream_id=STREAM, channel_id=place.room, visibility=Visibility.PRIVATE, changed_at=START
        )
    )
    await place.started()
    assert await place.status() == 404


async def test_what_was_taken_back_is_not_replayed(place: Place) -> None:
    await place.published_whole()
    async with place.pool.acquire() as connection:
        await log_store.mark_deleted(
            connection, place.room, message_id=place.ids[8], before=datetime.now(UTC), by=place.room
        )
    assert [said for _, said in await place.shown()] == [2, 25, 45, 55]
