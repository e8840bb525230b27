"""A room shows its channel's stream while everybody may know of it, and not a moment longer."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from chat.brokers.broker_memory import MemoryBroker, MemoryServer
from chat.rooms.channels import Channels
from chat.rooms.signals import Signals
from eventbus.outbox import Outbox
from events import EndReason, Envelope, StreamEnded, StreamStarted, StreamUpdated, Visibility
from runtime.ids import uuid7
from runtime.postgres import Pool, open_pool
from runtime.settings import PostgresSettings
from tests.engines import Database

NOW = datetime.now(UTC)
CHANNEL = uuid4()


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    async with open_pool(PostgresSettings(postgres_dsn=database.dsn), schema="chat") as opened:
        yield opened


async def test_a_hidden_stream_is_shown_when_it_becomes_public(pool: Pool) -> None:
    channels, outbox, stream_id = Channels(Signals(MemoryBroker(MemoryServer()))), Outbox(pool, source="chat"), uuid7()

    async def live() -> UUID | None:
        found: UUID | None = await pool.fetchval(
            "SELECT stream_id FROM rooms WHERE channel_id = $1 AND ended_at IS NULL", CHANNEL
        )
        return found

    async def hear_started() -> None:
        event = StreamStarted(
            stream_id=stream_id,
            channel_id=CHANNEL,
            channel_name="ada",
            title="x",
            visibility=Visibility.UNLISTED,
            started_at=NOW,
        )
        async with outbox.transaction() as transaction:
            await channels.on_stream_started(transaction, Envelope(uuid7(), "test", NOW, event))

    async def hear_updated(visibility: Visibility, before: Visibility | None, minutes: int) -> None:
        event = StreamUpdated(
            stream_id=stream_id,
            channel_id=CHANNEL,
            title="x",
            category=None,
            tags=(),
            language=None,
            visibility=visibility,
            visibility_before=before,
            updated_at=NOW + timedelta(minutes=minutes),
        )
        async with outbox.transaction() as transaction:
            await channels.on_stream_updated(transaction, Envelope(uuid7(), "test", NOW, event))

    await hear_started()
    assert await pool.fetchval("SELECT channel_name FROM rooms WHERE channel_id = $1", CHANNEL) == "ada"
    assert await live() is None
    await hear_updated(Visibility.UNLISTED, None, 1)
    assert await live() is None
    for repetition in range(2):
        await hear_updated(Visibility.PUBLIC, Visibility.UNLISTED, 2 + repetition)
        assert await live() == stream_id
    await hear_updated(Visibility.PRIVATE, Visibility.PUBLIC, 4)
    assert await live() is None
    await hear_updated(Visibility.PUBLIC, Visibility.PRIVATE, 5)
    assert await live() == stream_id
    over = StreamEnded(
        stream_id=stream_id,
        channel_id=CHANNEL,
        started_at=NOW,
        ended_at=NOW + timedelta(hours=1),
        reason=EndReason.STREAMER,
    )
    async with outbox.transaction() as transaction:
        await channels.on_stream_ended(transaction, Envelope(uuid7(), "test", NOW, over))
    assert await live() is None
