"""The live lane: connected followers hear at once, once, wherever they are connected."""

import asyncio
import socket
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

import asyncpg
import pytest

from eventbus.bus_memory import MemoryBus
from events import StreamStarted
from notify.notices import least_notice_id
from runtime.postgres import Pool
from tests.engines import Database
from tests.integration.notify.conftest import StartNotify
from tests.integration.notify.processes import (
    Listener,
    Person,
    RunningNotify,
    eventually,
    fanout_is_complete,
    say,
    seed,
    slow_clients_cut,
    started,
)

ADA, BOB, EVE = Person("ada"), Person("bob"), Person("eve")


@pytest.fixture(autouse=True)
async def bob_follows_ada(pool: Pool) -> None:
    await seed(pool, ADA, [BOB.user_id])
    await pool.execute("INSERT INTO people VALUES ($1, $2)", EVE.user_id, EVE.name)


async def settled(pool: Pool, *stream_ids: UUID) -> None:
    """Wait until the fan-outs are done."""
    for stream_id in stream_ids:
        await eventually(partial(fanout_is_complete, pool, stream_id))


def has_heard(listener: Listener, count: int) -> bool:
    return len(listener.stream_ids) == count


async def test_a_connected_follower_gets_one_event_that_is_the_inboxs_notice(
    start_notify: StartNotify, bus: MemoryBus, pool: Pool
) -> None:
    notify = await start_notify()
    bob, eve = await notify.listen(BOB), await notify.listen(EVE)
    event, again = started(ADA), started(ADA)
    await say(bus, event, event)
    await say(bus, event)
    await settled(pool, event.stream_id)
    await say(bus, again)
    await eventually(lambda: len(bob.stream_ids) == 2)
    await settled(pool, again.stream_id)
    assert bob.stream_ids == [str(event.stream_id), str(again.stream_id)]
    assert [line["id"] for line in bob.events] == bob.stream_ids
    assert list(reversed(bob.notices)) == await notify.notices(BOB)
    assert eve.events == []


async def test_followers_hear_on_whichever_process_they_are_connected(
    start_notify: StartNotify, bus: MemoryBus, pool: Pool
) -> None:
    here, there = await start_notify(), await start_notify()
    listeners = [await process.listen(BOB) for process in (here, there)]
    await here.follow(EVE, ADA)
    eve = await there.listen(EVE)
    events = [started(ADA) for _ in range(10)]
    await say(bus, *events)
    for listener in [*listeners, eve]:
        await eventually(partial(has_heard, listener, 10))
    await settled(pool, *(event.stream_id for event in events))
    for listener in [*listeners, eve]:
        assert sorted(listener.stream_ids) == sorted(str(event.stream_id) for event in events)


async def test_a_follow_and_an_unfollow_at_one_process_count_at_the_other(
    start_notify: StartNotify, bus: MemoryBus, pool: Pool
) -> None:
    here, there = await start_notify(), await start_notify()
    eve, bob = await there.listen(EVE), await there.listen(BOB)
    await here.follow(EVE, ADA)
    first, second = started(ADA), started(ADA)
    await say(bus, first)
    await eventually(lambda: eve.stream_ids == [str(first.stream_id)])
    await here.unfollow(EVE, ADA)
    await say(bus, second)
    await eventually(lambda: len(bob.stream_ids) == 2)
    await settled(pool, second.stream_id)
    assert eve.stream_ids == [str(first.stream_id)]


async def test_who_comes_back_is_told_what_was_missed_in_order_and_nothing_twice(
    start_notify: StartNotify, bus: MemoryBus, pool: Pool
) -> None:
    notify = await start_notify()
    bob = await notify.listen(BOB)
    events = [started(ADA) for _ in range(6)]
    await say(bus, *events[:2])
    await eventually(lambda: len(bob.stream_ids) == 2)
    await bob.close()
    await say(bus, *events[2:5])
    await settled(pool, *(event.stream_id for event in events[:5]))
    back = await notify.listen(BOB, last_event_id=bob.stream_ids[-1])
    await say(bus, events[5], events[0])
    await eventually(lambda: len(back.stream_ids) == 4)
    await settled(pool, events[5].stream_id)
    assert back.stream_ids == [str(event.stream_id) for event in events[2:]]
    fresh = await notify.listen(BOB)
    assert fresh.events == []


async def test_who_comes_back_while_the_inbox_is_still_being_written_misses_nothing(
    start_notify: StartNotify, bus: MemoryBus, pool: Pool, database: Database
) -> None:
    await start_notify()
    last = str(least_notice_id(datetime.now(UTC)))
    event = started(ADA)
    holder = await asyncpg.connect(database.url)
    try:
        hold = holder.transaction()
        await hold.start()
        await holder.execute("LOCK TABLE notify.notices IN SHARE ROW EXCLUSIVE MODE")
        await say(bus, event)
        await eventually(lambda: _begun(pool))
        notify = await start_notify()  # one that has not heard the live lane say it
        bob = await notify.listen(BOB, last_event_id=last)
        await eventually(lambda: bob.stream_ids == [str(event.stream_id)])
        assert await notify.notices(BOB) == []
        await hold.rollback()
    finally:
        await holder.close()
    await settled(pool, event.stream_id)
    later = started(ADA)
    await say(bus, later)
    await eventually(lambda: str(later.stream_id) in bob.stream_ids)
    assert bob.stream_ids == [str(event.stream_id), str(later.stream_id)]


async def _begun(pool: Pool) -> bool:
    return bool(await pool.fetchval("SELECT count(*) FROM fanouts"))


async def test_the_connected_hear_although_the_inbox_cannot_be_written(
    start_notify: StartNotify, bus: MemoryBus, database: Database
) -> None:
    notify = await start_notify()
    bob = await notify.listen(BOB)
    event = started(ADA)
    holder = await asyncpg.connect(database.url)
    try:
        hold = holder.transaction()
        await hold.start()
        await holder.execute("LOCK TABLE notify.fanout_pages, notify.notices IN EXCLUSIVE MODE")
        await say(bus, event)
        await eventually(lambda: bob.stream_ids == [str(event.stream_id)])
        await hold.rollback()
    finally:
        await holder.close()


async def test_more_than_is_replayed_is_said_to_be_missing(
    start_notify: StartNotify, bus: MemoryBus, pool: Pool
) -> None:
    notify = await start_notify(notify_live_replay_notices_max=3)
    last = str(least_notice_id(datetime.now(UTC)))
    events = [started(ADA) for _ in range(5)]
    await say(bus, *events)
    await settled(pool, *(event.stream_id for event in events))
    elsewhere = await start_notify(notify_live_replay_notices_max=3)
    bob = await elsewhere.listen(BOB, last_event_id=last)
    await eventually(lambda: len(bob.events) == 4)
    assert bob.events[0] == {"event": "gap", "data": '{"replayed_max": 3}'}
    assert bob.stream_ids == [str(event.stream_id) for event in events[2:]]
    assert len(await notify.notices(BOB)) == 5


async def test_connections_are_bounded_by_person_and_by_process(start_notify: StartNotify) -> None:
    notify = await start_notify(notify_live_connections_max=3, notify_live_connections_per_user_max=2)
    first = await notify.listen(BOB)
    await notify.listen(BOB)
    status, problem = await notify.call("GET", "/api/notifications/live", BOB)
    assert (status, problem["type"]) == (429, "urn:livestream:problem:too-many-connections")
    await notify.listen(EVE)
    status, problem = await notify.call("GET", "/api/notifications/live", ADA)
    assert (status, problem["type"]) == (503, "urn:livestream:problem:live-connections-full")
    await first.close()


async def test_a_quiet_connection_gets_heartbeats_and_one_that_left_is_forgotten(start_notify: StartNotify) -> None:
    notify = await start_notify(notify_live_heartbeat_seconds=0.05, notify_live_connections_max=1)
    bob = await notify.listen(BOB)
    await eventually(lambda: bob.comments >= 2)
    await bob.close()

    async def let_in() -> bool:
        async with notify.session.get(
            f"{notify.url}/api/notifications/live", headers={"Authorization": f"Bearer {EVE.token}"}
        ) as answer:
            return answer.status == 200

    await eventually(let_in)


async def test_an_old_connection_is_ended_and_comes_back_without_a_loss(
    start_notify: StartNotify, bus: MemoryBus
) -> None:
    notify = await start_notify(notify_live_connection_seconds_max=0.5)
    heard = [str(least_notice_id(datetime.now(UTC)))]
    first, second = started(ADA), started(ADA)

    async def has_heard_until_the_end(event: StreamStarted) -> bool:
        bob = await notify.listen(BOB, last_event_id=heard[-1])
        await eventually(lambda: bob.ended)
        heard.extend(bob.stream_ids)
        return heard[-1] == str(event.stream_id)

    for event in (first, second):
        await say(bus, event)
        await eventually(partial(has_heard_until_the_end, event))
    assert heard[1:] == [str(first.stream_id), str(second.stream_id)]


async def test_a_client_that_does_not_read_is_cut_and_costs_the_others_nothing(
    start_notify: StartNotify, bus: MemoryBus
) -> None:
    notify = await start_notify(notify_live_queue_notices_max=16)
    bob = await notify.listen(BOB)
    reader, writer = await deaf_client(notify, BOB)
    assert b"200" in await reader.readline()
    told, cut_before = 0, slow_clients_cut()
    while slow_clients_cut() == cut_before:
        assert told < 2_000, "nobody was cut"
        await say(bus, *(started(ADA, title="x" * 8_000) for _ in range(8)))
        told += 8
        await eventually(lambda: len(bob.events) == told)  # noqa: B023  told is what it is at the time of the call
    assert not bob.ended
    writer.close()


async def deaf_client(notify: RunningNotify, person: Person) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A client with a small window that asks and then hardly reads."""
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
    plain.setblocking(False)
    host, port = notify.url.removeprefix("http://").split(":")
    await asyncio.get_running_loop().sock_connect(plain, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=plain, limit=256)
    login = f"Authorization: Bearer {person.token}"
    writer.write(f"GET /api/notifications/live HTTP/1.1\r\nHost: notify\r\n{login}\r\n\r\n".encode())
    return reader, writer


async def test_stopping_ends_the_connections_at_once(start_notify: StartNotify, bus: MemoryBus) -> None:
    notify, other = await start_notify(), await start_notify()
    bob = await notify.listen(BOB)
    event, later = started(ADA), started(ADA)
    await say(bus, event)
    await eventually(lambda: len(bob.stream_ids) == 1)
    async with asyncio.timeout(10):
        await notify.stop()
    await eventually(lambda: bob.ended)
    await say(bus, later)
    back = await other.listen(BOB, last_event_id=bob.stream_ids[-1])
    await eventually(lambda: back.stream_ids == [str(later.stream_id)])
