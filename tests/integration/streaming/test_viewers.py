"""Viewers on real Redis and Postgres: who is counted, by any number of processes, and what is kept of it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from events import Visibility
from runtime.client_address import ClientAddresses
from runtime.http_server import HttpServer
from runtime.ids import uuid7
from runtime.postgres import Pool, open_pool
from runtime.read_pool import ReadPool
from runtime.redis_batches import RedisBatches
from runtime.settings import HttpSettings, PostgresSettings
from streaming.streams.playback import PlaybackSigner
from streaming.streams.views import LiveStreamView, StreamStatus
from streaming.viewers.api import COOKIE, Viewers
from streaming.viewers.audience import Audience
from streaming.viewers.counts import HELD_MS, Count, ViewerCounts
from streaming.viewers.keeping import StatsKeeper
from streaming.viewers.open_streams import OpenStreams
from streaming.viewers.watching import ViewerCookies, Watching
from tests import engines
from tests.contract.held_client import Answer, HeldClient, held_client
from tests.integration.streaming.studio import Tokens, User
from tests.turns_of_the_clock import not_at_the_turn_of

COOKIES = ViewerCookies(b"a secret of the tests")
SIGNER = PlaybackSigner(SecretStr("a secret of the tests"))
OF_ADDRESS_MAX = 5
ANSWER_SECONDS_MAX = 10.0
"""So that a busy machine counts all the same."""
PLAYED = {"position_seconds": 40.0}


@dataclass
class Cinema:
    """A streaming process as far as viewers see it, with others beside it."""

    pool: Pool
    redis: Redis
    client: HeldClient
    counts: ViewerCounts
    keeper: StatsKeeper

    async def stream(self, *, owner: User | None = None, visibility: str = "public", open_: bool = True) -> UUID:
        """A stream that is on, or was."""
        stream_id, owner = uuid7(), owner or User("ada")
        await self.pool.execute(
            "INSERT INTO channels (channel_id, name) VALUES ($1, 'ada') ON CONFLICT DO NOTHING", owner.user_id
        )
        await self.pool.execute(
            "INSERT INTO streams (stream_id, channel_id, title, visibility, status, started_at, ended_at, end_reason) "
            "VALUES ($1, $2, 'First', $3, $4, now(), $5, $6)",
            stream_id,
            owner.user_id,
            visibility,
            "live" if open_ else "ended",
            *((None, None) if open_ else (datetime.now(UTC), "streamer")),
        )
        if open_:
            await self.pool.execute(
                "INSERT INTO open_streams (channel_id, stream_id, status, key_hash, server, client, started_at, "
                "session_started_at, seen_at) VALUES ($1, $2, 'live', sha256($3), 's', '1', now(), now(), now())",
                owner.user_id,
                stream_id,
                stream_id.bytes,
            )
        return stream_id

    async def end(self, stream_id: UUID) -> None:
        await self.pool.execute("DELETE FROM open_streams WHERE stream_id = $1", stream_id)
        await self.pool.execute(
            "UPDATE streams SET status = 'ended', ended_at = now(), end_reason = 'streamer' WHERE stream_id = $1",
            stream_id,
        )

    async def beat(self, stream_id: UUID, cookie: str | None = None, address: str = "192.0.2.1") -> Answer:
        """A heartbeat of a player at 40 s."""
        headers = {"X-Forwarded-For": address, **({"Cookie": f"{COOKIE}={cookie}"} if cookie else {})}
        return await self.client.post(f"/api/streams/{stream_id}/heartbeat", json=PLAYED, headers=headers)

    async def rows(self, stream_id: UUID) -> list[tuple[int, int, int]]:
        rows = await self.pool.fetch(
            "SELECT viewers, unique_viewers, peak_viewers FROM stream_stats WHERE stream_id = $1 ORDER BY minute",
            stream_id,
        )
        return [tuple(row) for row in rows]

    async def minute_passes(self) -> None:
        """What was written of this minute is a minute old."""
        await self.pool.execute("UPDATE stream_stats SET minute = minute - interval '1 minute'")


def playing(stream_id: UUID, number: int = 0, *, seconds_ago: int = 20, counted: bool = False) -> str:
    """The cookie of a player that was at 20 s so many seconds ago."""
    then = int(time.time()) - seconds_ago
    return COOKIES.write(stream_id, Watching(number.to_bytes(10, "big"), then, then, 20_000, counted))


def listed(stream_id: UUID, status: StreamStatus) -> LiveStreamView:
    return LiveStreamView(
        stream_id=stream_id, channel_id=stream_id, channel_name="ada", title="First", category=None, tags=(),
        language=None, visibility=Visibility.PUBLIC, status=status, started_at=datetime.now(UTC), playback_url=None,
    )  # fmt: skip


@asynccontextmanager
async def open_cinema(database: engines.Database, redis_url: str) -> AsyncIterator[Cinema]:
    async with (
        open_pool(PostgresSettings(postgres_dsn=database.dsn), schema="streaming") as pool,
        Redis.from_url(redis_url) as redis,
    ):
        counts = ViewerCounts(
            RedisBatches(redis), viewers_of_address_max=OF_ADDRESS_MAX, answer_seconds_max=ANSWER_SECONDS_MAX
        )
        api = Viewers(
            ReadPool(pool), OpenStreams(pool), counts, Audience(counts), COOKIES, ClientAddresses("127.0.0.1"), SIGNER
        )
        server = HttpServer([api], settings=HttpSettings(), verifier=Tokens())
        async with held_client(server, [api], keeps_cookies=False) as client:
            yield Cinema(pool, redis, client, counts, StatsKeeper(pool, counts))


@pytest.fixture
async def cinema(database: engines.Database, redis_url: str) -> AsyncIterator[Cinema]:
    async with open_cinema(database, redis_url) as opened:
        yield opened


async def test_a_player_is_counted_when_it_has_played_and_is_seen_in_the_statistics(cinema: Cinema) -> None:
    stream_id = await cinema.stream()
    first = await cinema.beat(stream_id)
    assert (first.status, first.body) == (200, {"next_seconds": 20, "viewers": None})
    given = first.headers["Set-Cookie"]
    assert f"Path=/api/streams/{stream_id}/;" in given
    assert "HttpOnly" in given and "SameSite=Lax" in given
    assert await cinema.counts.count(stream_id) == Count(0, 0, 0)
    again = await cinema.beat(stream_id, given.partition(";")[0].partition("=")[2])
    assert again.status == 200
    assert await cinema.counts.count(stream_id) == Count(0, 0, 0), "20 s have not passed"
    assert (await cinema.beat(stream_id, playing(stream_id))).body == {"next_seconds": 20, "viewers": 1}
    assert await cinema.counts.count(stream_id) == Count(1, 1, 1)
    stats = await cinema.client.get(f"/api/streams/{stream_id}/stats")
    assert (stats.body["viewers"], stats.body["points"]) == (1, [])


async def test_streams_that_are_on_are_shown_with_their_viewers(cinema: Cinema) -> None:
    watched, unwatched, over = await cinema.stream(), await cinema.stream(owner=User("bob")), uuid7()
    await cinema.beat(watched, playing(watched))
    shown = await Audience(cinema.counts).shown(
        [
            listed(watched, StreamStatus.LIVE),
            listed(unwatched, StreamStatus.INTERRUPTED),
            listed(over, StreamStatus.ENDED),
        ]
    )
    assert [one.viewers for one in shown] == [1, 0, None]


async def test_whoever_cheats_adds_nothing(cinema: Cinema) -> None:
    stream_id, other = await cinema.stream(), await cinema.stream(owner=User("bob"))
    mine = playing(stream_id, 1)
    await asyncio.gather(*(cinema.beat(stream_id, mine, f"198.51.100.{number}") for number in range(20)))
    assert await cinema.counts.count(stream_id) == Count(1, 1, 1), "one cookie from many addresses"
    await asyncio.gather(*(cinema.beat(stream_id, address="203.0.113.1") for _ in range(20)))
    assert (await cinema.counts.count(stream_id)).viewers == 1, "many without a cookie"
    forged = [mine[:30] + "A" * 22, playing(other, 2), "x", playing(stream_id, 3, seconds_ago=3)]
    for cookie in forged:
        assert (await cinema.beat(stream_id, cookie)).status == 200
    assert (await cinema.counts.count(stream_id)).viewers == 1, "forged, another stream's, too soon"
    crowd = [playing(stream_id, 100 + number) for number in range(50)]
    await asyncio.gather(*(cinema.beat(stream_id, cookie, f"2001:db8::{at}") for at, cookie in enumerate(crowd)))
    assert await cinema.counts.count(stream_id) == Count(1 + OF_ADDRESS_MAX, 1 + OF_ADDRESS_MAX, 1 + OF_ADDRESS_MAX)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "position_seconds"),
        ({"position_seconds": -1}, "position_seconds"),
        ({"position_seconds": 1e9}, "position_seconds"),
        ({"position_seconds": "40 s"}, "position_seconds"),
        ({"position_seconds": None}, "position_seconds"),
        ({"position_seconds": 1, "viewers": 1_000}, "viewers"),
    ],
)
async def test_a_heartbeat_that_makes_no_sense_names_the_field(cinema: Cinema, body: object, field: str) -> None:
    answer = await cinema.client.post(f"/api/streams/{uuid4()}/heartbeat", json=body)
    assert answer.status == 422
    assert field in answer.body["errors"][0]["field"]


async def test_the_first_heartbeats_of_a_process_wait_until_it_knows_which_streams_are_on(cinema: Cinema) -> None:
    stream_id, streams = await cinema.stream(), OpenStreams(cinema.pool)
    assert set(await asyncio.gather(*(streams.is_private(stream_id) for _ in range(20)))) == {False}


async def test_a_stream_that_is_not_on_takes_no_heartbeats(cinema: Cinema) -> None:
    for stream_id in (uuid4(), await cinema.stream(open_=False)):
        assert (await cinema.beat(stream_id)).problem == "stream-not-found"


async def test_who_watches_a_private_stream_shows_that_they_may(cinema: Cinema) -> None:
    stream_id, other = await cinema.stream(visibility="private"), uuid7()
    soon, now = datetime.now(UTC) + timedelta(minutes=1), datetime.now(UTC) - timedelta(seconds=1)
    mine, others, expired = (
        SIGNER.sign(one, until).url.split("/")[2] for one, until in ((stream_id, soon), (other, soon), (stream_id, now))
    )
    forged = mine[:12] + ("B" if mine[12] == "A" else "A") + mine[13:]
    for signature in (None, "", "~", others, expired, mine[1:], forged):
        answer = await cinema.client.post(
            f"/api/streams/{stream_id}/heartbeat", json={**PLAYED, "signature": signature}
        )
        assert answer.problem == "stream-not-found", signature
    answer = await cinema.client.post(f"/api/streams/{stream_id}/heartbeat", json={**PLAYED, "signature": mine})
    assert answer.status == 200


async def test_processes_count_together_and_a_viewer_who_left_is_gone(cinema: Cinema, redis_url: str) -> None:
    stream_id = await cinema.stream()
    async with Redis.from_url(redis_url) as one, Redis.from_url(redis_url) as two:
        processes = [
            ViewerCounts(RedisBatches(redis), viewers_of_address_max=10_000, answer_seconds_max=ANSWER_SECONDS_MAX)
            for redis in (one, two)
        ]
        for first in range(0, 500, 50):  # each of 500 at both
            viewers = [number.to_bytes(10, "big") for number in range(first, first + 50)]
            await asyncio.gather(
                *(process.watch(stream_id, viewer, "a", is_new=True) for viewer in viewers for process in processes)
            )
        assert [await process.count(stream_id) for process in processes] == [Count(500, 500, 500)] * 2
    now_ms = int(time.time() * 1_000)
    gone = {number.to_bytes(10, "big"): now_ms - HELD_MS - 1_000 for number in range(200)}
    await cinema.redis.zadd(f"viewers:{{{stream_id}}}:now", gone)
    assert await cinema.counts.count(stream_id) == Count(300, 500, 500)
    assert await cinema.counts.watch(stream_id, b"another's.", "b", is_new=True) == 301, "of whom it is told"
    # Everything has an end.
    async for key in cinema.redis.scan_iter(match=f"viewers:{{{stream_id}}}:*"):
        assert await cinema.redis.ttl(key) > 0


async def test_every_minute_is_kept_once_and_the_end_is_a_zero(cinema: Cinema) -> None:
    await not_at_the_turn_of(60, spare_seconds=10)
    stream_id = await cinema.stream()
    await cinema.beat(stream_id, playing(stream_id, 1))
    await asyncio.gather(cinema.keeper.keep(), StatsKeeper(cinema.pool, cinema.counts).keep())
    assert await cinema.rows(stream_id) == [(1, 1, 1)]
    await cinema.beat(stream_id, playing(stream_id, 2))
    await cinema.keeper.keep()
    assert await cinema.rows(stream_id) == [(2, 2, 2)], "the same minute"
    await cinema.minute_passes()
    await cinema.end(stream_id)
    await cinema.keeper.keep()
    assert await cinema.rows(stream_id) == [(2, 2, 2), (0, 2, 2)]
    await cinema.minute_passes()
    assert await cinema.keeper.keep() == 0, "it is over"
    stats = (await cinema.client.get(f"/api/streams/{stream_id}/stats")).body
    assert (stats["viewers"], stats["peak_viewers"], stats["unique_viewers"]) == (0, 2, 2)
    assert (stats["average_viewers"], stats["viewer_minutes"]) == (1.0, 2)
    assert [(point["viewers"], point["viewers_max"]) for point in stats["points"]] == [(2, 2), (0, 0)]


async def test_sums_go_on_when_redis_has_forgotten_them(cinema: Cinema) -> None:
    stream_id = await cinema.stream()
    for number in range(3):
        await cinema.beat(stream_id, playing(stream_id, number))
    await cinema.keeper.keep()
    async for key in cinema.redis.scan_iter(match=f"viewers:{{{stream_id}}}:*"):
        await cinema.redis.delete(key)
    await cinema.beat(stream_id, playing(stream_id, 0, counted=True))
    await cinema.beat(stream_id, playing(stream_id, 9))
    await cinema.minute_passes()
    await cinema.keeper.keep()
    assert await cinema.rows(stream_id) == [(3, 3, 3), (2, 4, 3)]


async def test_without_redis_players_go_on_and_an_end_is_a_zero(database: engines.Database) -> None:
    async with open_cinema(database, "redis://127.0.0.1:1/0") as cinema:
        stream_id, ended = await cinema.stream(), await cinema.stream(owner=User("bob"), open_=False)
        await cinema.pool.execute(
            "INSERT INTO stream_stats VALUES ($1, date_trunc('minute', now()) - interval '2 minutes', 7, 9, 8)", ended
        )
        answer = await cinema.beat(stream_id, playing(stream_id))
        assert (answer.status, answer.body) == (200, {"next_seconds": 20, "viewers": None})
        await cinema.keeper.keep()
        assert await cinema.rows(stream_id) == [], "nobody knows"
        assert await cinema.rows(ended) == [(7, 9, 8), (0, 9, 8)]
        assert (await cinema.client.get(f"/api/streams/{stream_id}/stats")).body["viewers"] is None


async def test_a_long_stream_has_at_most_500_points(cinema: Cinema) -> None:
    stream_id = await cinema.stream(open_=False)
    began = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    await cinema.pool.executemany(
        "INSERT INTO stream_stats VALUES ($1, $2, $3, 2000, 1201)",
        [(stream_id, began + timedelta(minutes=minute), minute) for minute in range(1_201)],
    )
    stats = (await cinema.client.get(f"/api/streams/{stream_id}/stats")).body
    assert stats["step_seconds"] == 180
    assert len(stats["points"]) == 401
    assert stats["points"][1] == {"at": "2026-01-02T03:07:00Z", "viewers": 4, "viewers_max": 5}
    assert stats["viewer_minutes"] == sum(range(1_201))


async def test_statistics_of_a_private_stream_are_its_streamers(cinema: Cinema) -> None:
    ada, bob = User("ada"), User("bob")
    stream_id = await cinema.stream(owner=ada, visibility="private")
    path = f"/api/streams/{stream_id}/stats"
    assert (await cinema.client.get(path)).problem == "stream-not-found"
    assert (await cinema.client.get(path, headers=bob.headers)).problem == "stream-not-found"
    assert (await cinema.client.get(path, headers=ada.headers)).status == 200
    assert (await cinema.client.get(f"/api/streams/{uuid4()}/stats")).problem == "stream-not-found"
