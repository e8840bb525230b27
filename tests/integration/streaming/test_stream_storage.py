"""Streaming's tables: months go into their partitions, lists find their index, and a channel has one open stream."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID, uuid4

import asyncpg
import pytest

from events import Envelope, RecordingCompleted, RecordingFailed, RecordingPublished
from runtime.ids import uuid7, uuid7_time
from streaming import recordings, store
from tests.integration.streaming.studio import Studio

NOW = datetime(2026, 3, 1, tzinfo=UTC)


async def test_every_query_is_valid(studio: Studio) -> None:
    async with studio.pool.acquire() as connection:
        for query in store.queries.all():
            await connection.prepare(query.sql)


async def test_partitions_are_made_once_however_many_ask(studio: Studio) -> None:
    made = await asyncio.gather(*(store.queries.make_partitions(studio.pool, months_ahead=2) for _ in range(4)))
    assert sorted(len(rows) for rows in made) == [0, 0, 0, 3]


async def test_a_stream_goes_into_its_month(studio: Studio) -> None:
    await store.queries.make_partitions(studio.pool, months_ahead=2)
    _, key = await studio.channel()
    await studio.publish(key)
    [row] = await studio.rows("SELECT stream_id, tableoid::regclass::text AS partition FROM streams")
    assert row["partition"] == f"streams_{uuid7_time(row['stream_id']):%Y_%m}"


async def test_a_stream_without_a_partition_is_kept_nevertheless(studio: Studio) -> None:
    _, key = await studio.channel()
    await studio.publish(key)
    [row] = await studio.rows("SELECT tableoid::regclass::text AS partition FROM streams")
    assert row["partition"] == "streams_default"


async def test_a_stream_is_looked_up_in_one_partition(studio: Studio) -> None:
    await store.queries.make_partitions(studio.pool, months_ahead=2)
    plan = await studio.rows("EXPLAIN " + store.queries.find_stream.sql.replace("$1", f"'{uuid7()}'"))
    scans = [row[0] for row in plan if " on streams" in row[0]]
    assert len(scans) == 1


async def test_the_live_list_uses_its_index(studio: Studio) -> None:
    channel_id, _ = await studio.channel()
    await store.queries.make_partitions(studio.pool, months_ahead=0)
    await studio.pool.execute(
        "INSERT INTO streams SELECT first_id_of(now()) , $1, 't', 'ended', now(), now(), 'streamer'", channel_id
    )
    await studio.pool.executemany(
        "INSERT INTO streams VALUES ($1, $2, 't', 'ended', now(), now(), 'streamer')",
        [(uuid7(), channel_id) for _ in range(20_000)],
    )
    await studio.pool.execute("ANALYZE streams")
    plan = await studio.pool.fetch("EXPLAIN " + store.queries.list_live_streams.sql, 51)
    text = "\n".join(row[0] for row in plan)
    assert "status_started_at" in text
    assert "Seq Scan on streams_2" not in text


async def test_a_channel_cannot_have_two_open_streams(studio: Studio) -> None:
    _, key = await studio.channel()
    await studio.publish(key)
    with pytest.raises(asyncpg.UniqueViolationError):
        await studio.pool.execute(
            "INSERT INTO open_streams SELECT channel_id, $1, status, $2, server, client, started_at, seen_at, seen_at"
            " FROM open_streams",
            uuid7(),
            b"another",
        )


def envelope(event: RecordingPublished | RecordingCompleted | RecordingFailed) -> Envelope:  # type: ignore[type-arg]  # any of the three
    return Envelope(id=uuid7(), source="archive", time=NOW, event=event)


async def test_a_streams_view_says_where_its_recording_plays(studio: Studio) -> None:
    channel_id, key = await studio.channel()
    stream_id = UUID((await studio.publish(key))[1])
    path = f"/recordings/{stream_id}/master.m3u8"
    assert (await studio.stream(str(stream_id)))["recording"] is None
    published = RecordingPublished(
        stream_id=stream_id, channel_id=channel_id, duration_seconds=20.5, playback_path=path, published_at=NOW
    )
    async with studio.outbox.transaction() as transaction:
        await recordings.on_published(transaction, envelope(published))
    known = {"status": "processing", "playback_url": path, "duration_seconds": 20.5}
    assert (await studio.stream(str(stream_id)))["recording"] == known
    completed = RecordingCompleted(
        stream_id=stream_id, channel_id=channel_id, renditions=("source", "480p"), completed_at=NOW
    )
    async with studio.outbox.transaction() as transaction:
        await recordings.on_completed(transaction, envelope(completed))
        await recordings.on_completed(transaction, envelope(completed))
    assert (await studio.stream(str(stream_id)))["recording"] == known | {"status": "completed"}
    failed = RecordingFailed(stream_id=stream_id, channel_id=channel_id, reason="x", failed_at=NOW)
    async with studio.outbox.transaction() as transaction:
        await recordings.on_failed(transaction, envelope(failed))
    assert (await studio.stream(str(stream_id)))["recording"] == known | {"status": "failed"}


async def test_a_recording_of_an_unknown_stream_harms_nothing(studio: Studio) -> None:
    published = RecordingPublished(
        stream_id=uuid4(), channel_id=uuid4(), duration_seconds=1, playback_path="/x", published_at=NOW
    )
    async with studio.outbox.transaction() as transaction:
        await recordings.on_published(transaction, envelope(published))
