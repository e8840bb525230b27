"""Nothing of a deleted person is left in streaming, whatever comes late; and names are corrected by renames alone."""

import asyncio
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from events import DeleteReason, Envelope, RecordingDeleted
from runtime.erasure import Erasures
from runtime.ids import uuid7
from streaming import store
from streaming.lifecycle.publishing import Publishing
from streaming.people.erasing import FIRST_ID, ChannelErasing
from streaming.people.events import PeopleEvents
from streaming.recordings import on_deleted
from streaming.retention import holds
from streaming.servers.media_server import MediaServers
from tests import engines
from tests.integration.remains import deleted, erase_all, renamed, tables_of_people, tables_that_say
from tests.integration.streaming.erasing_process import LEASE_SECONDS
from tests.integration.streaming.studio import SERVER, Studio, User

NAME = "marker_erased_7"
WAITING = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def worker(studio: Studio) -> Erasures:
    publishing = Publishing(
        studio.outbox,
        studio.pool,
        MediaServers({SERVER: studio.media_server}),
        close_seconds_max=1,
        on_change=studio.live_list.forget,
    )
    steps = ChannelErasing(studio.pool, publishing).steps
    return Erasures(studio.pool, steps, service="streaming", again_seconds=0)


async def hear_deleted(studio: Studio, user_id: UUID) -> None:
    async with studio.outbox.transaction() as transaction:
        await PeopleEvents(studio.live_list.forget).on_deleted(transaction, deleted(user_id))


async def hear_renamed(studio: Studio, user_id: UUID, name: str, at: datetime) -> None:
    async with studio.outbox.transaction() as transaction:
        await PeopleEvents(studio.live_list.forget).on_renamed(transaction, renamed(user_id, name, at))


async def make_key(studio: Studio, user: User) -> str:
    answer = await studio.client.post("/api/channels/me/stream-key", headers=user.headers)
    assert answer.status == 201
    key: str = (await answer.json())["stream_key"]
    return key


async def lived_in(studio: Studio) -> tuple[User, str, str]:
    """Somebody with all that a channel can have: ended, cold and prepared streams, a ban, and a stream that is on."""
    user, other = User(NAME), User("other")
    key = await make_key(studio, user)
    await make_key(studio, other)
    _, ended = await studio.publish(key)
    cold = uuid7()
    await studio.pool.execute("UPDATE streams SET status = 'ended', ended_at = now(), end_reason = 'silent'")
    await studio.pool.execute("DELETE FROM open_streams")
    await studio.pool.execute("SELECT make_cold_year(now()::timestamp)")
    year = datetime.now(UTC).year
    await studio.pool.execute(f"CREATE TABLE cold_now PARTITION OF streams_cold_{year} DEFAULT")
    await studio.pool.execute(
        "INSERT INTO streams_cold (stream_id, channel_id, title, status, started_at, ended_at, end_reason)"
        " VALUES ($1, $2, 'cold', 'ended', now(), now(), 'silent')",
        cold,
        user.user_id,
    )
    for stream_id in (UUID(ended), cold):
        await studio.pool.execute("INSERT INTO recordings (stream_id, status) VALUES ($1, 'completed')", stream_id)
    await hear_renamed(studio, user.user_id, NAME + "_new", datetime.now(UTC))
    await studio.pool.execute(
        "INSERT INTO prepared_streams (prepared_id, channel_id, title, visibility, scheduled_at, expires_at)"
        " VALUES ($1, $2, 'soon', 'public', now() + interval '9 days', now() + interval '10 days')",
        uuid7(),
        user.user_id,
    )
    for channel_id, made_by in ((user.user_id, other.user_id), (other.user_id, user.user_id)):
        await studio.pool.execute(
            "INSERT INTO channel_bans (channel_id, banned_by, banned_until, made_by)"
            " VALUES ($1, 'operator', now(), $2)",
            channel_id,
            made_by,
        )
    status, live = await studio.publish(key)
    assert status == 302
    return user, key, live


async def test_nothing_of_a_deleted_person_is_left(studio: Studio) -> None:
    user, key, live = await lived_in(studio)
    marks = (user.user_id, NAME)
    before = await tables_that_say(studio.pool, "streaming", *marks)
    assert await tables_of_people(studio.pool, "streaming") <= before, "the test knows every table with people"
    await hear_deleted(studio, user.user_id)
    assert (await studio.publish(key, client=2))[0] == 403, "the key works no more from the commit on"
    row = await erase_all(worker(studio), studio.pool, user.user_id)
    assert row["settled_at"] is not None
    assert await tables_that_say(studio.pool, "streaming", *marks) == set()
    assert await studio.rows("SELECT FROM recordings") == []
    assert [said["reason"] for said in await studio.said("stream.ended")] == ["deleted"]
    assert (await studio.client.get(f"/api/streams/{live}")).status == 404


async def test_what_comes_late_brings_nobody_back(studio: Studio) -> None:
    user, _, live = await lived_in(studio)
    await hear_deleted(studio, user.user_id)
    await erase_all(worker(studio), studio.pool, user.user_id)
    await assert_refused(studio, user)  # with a token that is good for minutes yet
    await hear_renamed(studio, user.user_id, NAME, datetime.now(UTC))
    now = datetime.now(UTC)
    event = RecordingDeleted(
        stream_id=UUID(live), channel_id=user.user_id, reason=DeleteReason.ACCOUNT, deleted_at=now, purge_at=now
    )
    async with studio.outbox.transaction() as transaction:
        await on_deleted(transaction, Envelope(id=uuid7(), source="archive", time=now, event=event))
    assert await tables_that_say(studio.pool, "streaming", user.user_id, NAME, live) == set()


async def test_a_worker_that_is_killed_in_the_middle_is_replaced(studio: Studio, database: engines.Database) -> None:
    user, _, _ = await lived_in(studio)
    await hear_deleted(studio, user.user_id)
    killed = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.streaming.erasing_process",
        database.url,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert killed.stderr is not None
    assert await killed.stderr.readline() == b"streams are gone, the channel is not\n"
    assert await worker(studio).round() is False, "it is leased"
    killed.kill()
    assert await killed.wait() == -9
    assert "channels" in await tables_that_say(studio.pool, "streaming", NAME)
    await studio.pool.execute("UPDATE erasures SET due_at = due_at - make_interval(secs => $1)", LEASE_SECONDS)
    assert await worker(studio).round(), "its lease has run out"
    await erase_all(worker(studio), studio.pool, user.user_id)
    assert await tables_that_say(studio.pool, "streaming", user.user_id, NAME) == set()


async def test_a_held_stream_waits_where_nobody_finds_it(studio: Studio) -> None:
    user, _, live = await lived_in(studio)
    await studio.pool.execute(
        "INSERT INTO retention_holds (hold_id, scope, subject_id, reason, placed_by)"
        " VALUES ($1, 'stream', $2, 'r', 'p')",
        uuid7(),
        UUID(live),
    )
    await hear_deleted(studio, user.user_id)
    row = await erase_all(worker(studio), studio.pool, user.user_id)
    assert row["erased_at"] is None
    assert await tables_that_say(studio.pool, "streaming", user.user_id, NAME) == {"streams"}
    assert (await studio.client.get(f"/api/streams/{live}")).status == 404


async def lock_waited_for(studio: Studio) -> None:
    """Return when a transaction waits for the holds' table."""
    deadline = time.monotonic() + 10
    waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    while not await studio.rows(waiting):
        assert time.monotonic() < deadline, "nobody waits"
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("streams", "erase"),
    [
        ("SELECT stream_id FROM streams", "SELECT erase_streams($1, 100)"),
        ("SELECT stream_id FROM streams_cold", f"SELECT erase_cold_streams($1, '{FIRST_ID}', 100)"),
    ],
)
async def test_a_hold_and_an_erasing_at_the_same_time_take_turns(studio: Studio, streams: str, erase: str) -> None:
    """The hold comes first and is seen by the erasing; or comes second, and whoever places it hears that it is late."""
    user, _, _ = await lived_in(studio)
    await studio.pool.execute("DELETE FROM open_streams")
    await studio.pool.execute("UPDATE streams SET status = 'ended', ended_at = now(), end_reason = 'silent'")
    stream_id, first, second = (await studio.rows(streams))[0]["stream_id"], uuid7(), uuid7()
    async with asyncio.TaskGroup() as tasks, studio.pool.acquire() as connection:
        async with connection.transaction():
            await store.queries.place_stream_hold(
                connection, hold_id=first, scope="stream", subject_id=stream_id, reason="r", placed_by="p"
            )
            erasing = tasks.create_task(studio.pool.execute(erase, user.user_id))
            await lock_waited_for(studio)
        await erasing
        assert stream_id in [row["stream_id"] for row in await studio.rows(streams)], "the hold was seen"
        assert await holds.place_hold(studio.pool, first, "stream", stream_id, reason="r", placed_by="p")
        await holds.release_hold(studio.pool, first, released_by="p")
        async with connection.transaction():
            await connection.execute(erase, user.user_id)
            placing = tasks.create_task(
                holds.place_hold(studio.pool, second, "stream", stream_id, reason="r", placed_by="p")
            )
            await lock_waited_for(studio)
        assert await placing is False, "the stream is gone"


async def test_whoever_holds_a_deleted_channel_hears_so(studio: Studio) -> None:
    user = User(NAME)
    await make_key(studio, user)
    assert await holds.place_hold(studio.pool, uuid7(), "channel", user.user_id, reason="r", placed_by="p")
    await hear_deleted(studio, user.user_id)
    assert not await holds.place_hold(studio.pool, uuid7(), "channel", user.user_id, reason="r", placed_by="p")


async def test_a_held_cold_stream_is_waited_for_as_well(studio: Studio) -> None:
    user, _, _ = await lived_in(studio)
    [cold] = await studio.rows("SELECT stream_id FROM streams_cold")
    await hear_deleted(studio, user.user_id)
    release = "UPDATE retention_holds SET released_at = now(), released_by = 'p'"
    for scope, subject_id in (("stream", cold["stream_id"]), ("channel", user.user_id), ("everything", None)):
        await studio.pool.execute(release)
        await studio.pool.execute(
            "INSERT INTO retention_holds (hold_id, scope, subject_id, reason, placed_by) VALUES ($1, $2, $3, 'r', 'p')",
            uuid7(),
            scope,
            subject_id,
        )
        await studio.pool.execute("UPDATE erasures SET due_at = now()")
        row = await erase_all(worker(studio), studio.pool, user.user_id)
        assert row["erased_at"] is None, scope
        assert await tables_that_say(studio.pool, "streaming", cold["stream_id"]) >= {"streams_cold"}
        await studio.pool.execute("DELETE FROM streams")
    await studio.pool.execute(release)
    await studio.pool.execute("UPDATE erasures SET due_at = now()")
    row = await erase_all(worker(studio), studio.pool, user.user_id)
    assert row["settled_at"] is not None
    assert await studio.rows("SELECT FROM streams_cold") == []


async def test_a_token_of_a_deleted_person_makes_no_channel(studio: Studio) -> None:
    user = User(NAME)
    await hear_deleted(studio, user.user_id)
    await assert_refused(studio, user)
    assert await studio.rows("SELECT FROM channels") == []


async def test_a_channel_that_is_not_erased_yet_is_changed_no_more(studio: Studio) -> None:
    user = User(NAME)
    await make_key(studio, user)
    await hear_deleted(studio, user.user_id)
    await assert_refused(studio, user)
    [channel] = await studio.rows("SELECT title, stream_key_hash FROM channels")
    assert (channel["title"], channel["stream_key_hash"]) == (None, None)


async def test_a_key_that_is_asked_for_while_the_deletion_is_noted_is_refused(studio: Studio) -> None:
    user = User(NAME)
    await make_key(studio, user)
    async with studio.outbox.transaction() as transaction:
        await PeopleEvents(studio.live_list.forget).on_deleted(transaction, deleted(user.user_id))
        asked = asyncio.create_task(studio.client.post("/api/channels/me/stream-key", headers=user.headers))
        async with asyncio.timeout(10):
            while not await studio.rows(WAITING):  # noqa: ASYNC110  a session of Postgres waits, not a task of ours
                await asyncio.sleep(0.01)
    assert (await asked).status == 401
    [channel] = await studio.rows("SELECT stream_key_hash FROM channels")
    assert channel["stream_key_hash"] is None


async def assert_refused(studio: Studio, user: User) -> None:
    for method, path, body in (
        ("POST", "/api/streams", {"title": "late"}),
        ("PUT", "/api/channels/me", {"title": "late"}),
        ("PATCH", "/api/channels/me", {"title": "late"}),
        ("POST", "/api/channels/me/stream-key", None),
    ):
        answer = await studio.client.request(method, path, headers=user.headers, json=body)
        assert answer.status == 401, (method, path)


async def test_only_the_newest_rename_names_a_channel(studio: Studio) -> None:
    known, unknown = User("was_ada"), User("was_bob")
    await make_key(studio, known)
    now = datetime.now(UTC)
    for user in (known, unknown):
        await hear_renamed(studio, user.user_id, f"is_{user.name}", now)
        await hear_renamed(studio, user.user_id, f"older_{user.name}", now - timedelta(hours=1))
        await make_key(studio, user)  # its token says the name of before
    names = {row["name"] for row in await studio.rows("SELECT name FROM channels")}
    assert names == {"is_was_ada", "is_was_bob"}
