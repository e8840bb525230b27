"""SIGKILL of intakes at any moment: each recording is published once, and no playlist ever names what is not there."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from itertools import cycle
from uuid import UUID

import pytest

from eventbus.bus_configured import open_bus
from eventbus.outbox import Outbox
from eventbus.settings import BusSettings
from eventbus.topics_kafka import open_topics
from events import TOPICS, EndReason, StreamEnded, StreamStarted
from runtime.ids import uuid7
from runtime.objects import ObjectMissing
from runtime.postgres import open_pool
from tests.conftest import FaultPlan
from tests.engines import Database
from tests.faults.archive_process import Processes, kills
from tests.integration.archive.clips import Clip
from tests.integration.archive.house import CHANNEL, House, running, until
from tests.integration.archive.media_server import MediaServerDisk

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1_800)]

INTAKES = ("one", "two")
STREAMS = 3


class Streaming:
    """The streaming service as the archive hears it: what is said here goes over the real bus."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    async def say(self, stream_id: UUID) -> None:
        """That a stream began and ended."""
        now = datetime.now(UTC)
        async with self._outbox.transaction() as transaction:
            await transaction.say(
                StreamStarted(
                    stream_id=stream_id, channel_id=CHANNEL, channel_name="ada", title="Engines", started_at=now
                )
            )
            await transaction.say(
                StreamEnded(
                    stream_id=stream_id,
                    channel_id=CHANNEL,
                    started_at=now,
                    ended_at=now,
                    reason=EndReason.STREAMER,
                )
            )


@pytest.fixture
async def streaming(database: Database, kafka_bootstrap_servers: str, topic_prefix: str) -> AsyncIterator[Streaming]:
    settings = BusSettings(
        postgres_dsn=database.dsn, kafka_bootstrap_servers=kafka_bootstrap_servers, kafka_topic_prefix=topic_prefix
    )
    async with open_topics(settings) as topics:
        await topics.make(TOPICS)
    async with open_pool(settings, schema="streaming") as pool, open_bus(settings) as bus:
        outbox = Outbox(pool, source="streaming")
        async with running(bus.relay(settings.postgres_dsn, outbox, schema="streaming")):
            yield Streaming(outbox)


async def names_only_what_is_there(house: House, stream_id: UUID) -> bool:
    """Whether both playlists are there; those that are name only what is in the store."""
    for playlist in ("master.m3u8", "source/index.m3u8"):
        try:
            await house.pieces(f"{stream_id}/{playlist}")
        except ObjectMissing:
            return False
    return True


async def published(house: House, stream_ids: list[UUID]) -> bool:
    """Whether all of them play; looks at their playlists meanwhile."""
    for stream_id in stream_ids:
        there = await names_only_what_is_there(house, stream_id)
        recording = await house.recordings.find(stream_id)
        if recording is None or recording.published_at is None:
            return False
        assert there or await names_only_what_is_there(house, stream_id)
    return True


async def test_intakes_killed_at_any_moment_publish_each_recording_once(
    house: House, processes: Processes, streaming: Streaming, small_clip: Clip, fault_plan: FaultPlan
) -> None:
    chance = random.Random(fault_plan.seed)
    processes.environment["LIVESTREAM_KAFKA_SESSION_TIMEOUT_SECONDS"] = "6"
    await processes.start("shipper")
    for name in INTAKES:
        await processes.start("intake", called=name)
    # Not before both are there: otherwise all that is killed is a start.
    stream_ids = [await recorded(house, small_clip)]
    await until(lambda: published(house, stream_ids), seconds=60)
    told: list[UUID] = []
    for _, victim in zip(range(kills(fault_plan)), cycle(INTAKES), strict=False):
        now = [await recorded(house, small_clip) for _ in range(STREAMS)]
        told.append(written(house, small_clip))
        await streaming.say(told[-1])
        # The shipper settles after 0.4 s, finalising takes a few tenths.
        await asyncio.sleep(chance.uniform(0.2, 1.2))
        await processes.kill(victim)
        await processes.start("intake", called=victim)
        await until(partial(published, house, now), seconds=90)
        stream_ids += now
    # What went over the bus may have waited for its consumer's return.
    await until(lambda: published(house, told), seconds=120)
    stream_ids += told
    said = [facts for kind, facts in await house.said() if kind == "recording.published"]
    assert sorted(facts["stream_id"] for facts in said) == sorted(map(str, stream_ids))
    assert {(facts["duration_seconds"], facts["partial"]) for facts in said} == {(4.0, False)}
    assert await house.pool.fetchval("select count(*) from recordings") == len(stream_ids)


def written(house: House, clip: Clip) -> UUID:
    """A stream of which all is on the media server's disk, and that nobody has said anything of."""
    stream_id = uuid7()
    disk = MediaServerDisk(house.hls, stream_id)
    for body, duration_ms in zip(clip.segments, clip.durations_ms, strict=True):
        disk.close(body, duration_ms)
    return stream_id


async def recorded(house: House, clip: Clip) -> UUID:
    """The same, with its start and end noted."""
    stream_id = written(house, clip)
    await house.started(stream_id)
    await house.ended(stream_id)
    return stream_id
