"""Delivery workers on Postgres: who gets what, when, and what becomes of it."""

import asyncio
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID, uuid4

import pytest

from notify.deliveries import store
from notify.deliveries.delivery import (
    ChannelName,
    Delivered,
    Delivery,
    Failed,
    Gone,
    Lane,
    Outcome,
    ProviderBusy,
    Refused,
)
from notify.deliveries.queueing import enqueue
from notify.deliveries.store import Claimed, Verdict
from notify.deliveries.upkeep import DeliveryUpkeep
from runtime.ids import uuid7
from runtime.postgres import Pool, open_pool
from runtime.settings import PostgresSettings
from tests.engines import Database
from tests.integration.notify.delivery_scene import (
    TestChannel,
    make_fanout,
    new,
    outcomes,
    queue,
    running,
    seed_queue,
    waiting,
)
from tests.integration.notify.processes import eventually


async def is_drained(pool: Pool) -> bool:
    return await waiting(pool) == 0


async def claim(pool: Pool, lease: UUID, *, lease_seconds: float = 30.0, **rest: object) -> list[Claimed]:
    rooms: dict[str, int] = rest.pop("rooms", {})  # type: ignore[assignment]  # the test says what it is
    return list(
        await store.claim(
            pool, ChannelName.WEBPUSH, Lane.BULK, rows_max=1_000, lease=lease, lease_seconds=lease_seconds, rooms=rooms
        )
    )


def delivered(one: Claimed, lease: UUID) -> Verdict:
    return Verdict(one.delivery.delivery_id, lease, "delivered", "", None)


async def test_what_is_queued_arrives_whole_and_is_gone_then(pool: Pool) -> None:
    channel, wanted = TestChannel(), new(content={"title": "hello", "n": 1})
    await queue(pool, wanted)
    async with running(pool, channel):
        await eventually(lambda: is_drained(pool))
    [sent] = channel.sent
    assert (sent.source_id, sent.message_id, sent.user_id, sent.destination_id, sent.provider, sent.content) == (
        wanted.source_id,
        wanted.message_id,
        wanted.user_id,
        wanted.destination_id,
        wanted.provider,
        {"title": "hello", "n": 1},
    )
    assert channel.heard == [(sent, Delivered(), True)]


async def test_what_is_rolled_back_was_never_queued(pool: Pool) -> None:
    with pytest.raises(RuntimeError):
        async with pool.acquire() as connection, connection.transaction():
            await enqueue(connection, [new()])
            raise RuntimeError
    assert await waiting(pool) == 0


async def test_many_workers_share_and_send_each_delivery_once(pool: Pool) -> None:
    for _ in range(3):
        await seed_queue(pool, 1_000)
    channel = TestChannel()
    async with running(pool, channel, workers=4, notify_delivery_batch_max=100):
        await eventually(lambda: is_drained(pool))
    sent = Counter(one.delivery_id for one in channel.sent)
    assert len(sent) == 3_000
    assert set(sent.values()) == {1}


async def test_a_lease_that_is_over_is_anothers_and_settles_nothing(pool: Pool) -> None:
    fanout_id = await make_fanout(pool)
    await queue(pool, new(fanout_id))
    first, second = uuid4(), uuid4()
    [one] = await claim(pool, first, lease_seconds=0.05)
    again: list[Claimed] = []

    async def is_taken_again() -> bool:
        again.extend(await claim(pool, second))
        return bool(again)

    await eventually(is_taken_again)
    assert await store.settle(pool, [delivered(one, first)]) == 0
    assert await waiting(pool) == 1
    assert await store.settle(pool, [delivered(again[0], second)]) == 1
    assert await outcomes(pool, fanout_id) == {"delivered": 1}


async def test_outcomes_are_counted_at_the_fanout_and_the_gone_are_removed(pool: Pool) -> None:
    fanout_id = await make_fanout(pool)
    by_provider: dict[str, Outcome] = {
        "ok.example:443": Delivered(),
        "gone.example:443": Gone("410"),
        "no.example:443": Refused("413"),
        "bad.example:443": Failed("500"),
    }
    channel = TestChannel(lambda one: by_provider[one.provider])
    await queue(pool, *(new(fanout_id, provider=provider) for provider in by_provider for _ in range(3)))
    await queue(pool, *(new(fanout_id, expires_in=timedelta(seconds=-1)) for _ in range(2)))
    async with running(pool, channel):
        await eventually(lambda: is_drained(pool))
    assert await outcomes(pool, fanout_id) == {"delivered": 3, "gone": 3, "refused": 3, "failed": 3, "expired": 2}
    assert len(channel.sent) == 12
    assert {one.provider for one in channel.removed} == {"gone.example:443"}
    assert await pool.fetchval("SELECT count(*) FROM dead_deliveries WHERE reason = '500' AND attempts = 1") == 3


async def test_what_fails_is_tried_again_later_with_the_same_id_until_it_is_given_up_on(pool: Pool) -> None:
    channel = TestChannel(lambda _: Failed("no answer"), waits=(0.1, 0.1))
    wanted = new()
    await queue(pool, wanted)
    async with running(pool, channel):
        await eventually(lambda: is_drained(pool))
    assert [one.attempts for one in channel.sent] == [0, 1, 2]
    assert {one.message_id for one in channel.sent} == {wanted.message_id}
    assert [is_last for _, _, is_last in channel.heard] == [False, False, True]
    dead = await pool.fetchrow("SELECT * FROM dead_deliveries")
    assert dead is not None
    assert (dead["attempts"], dead["reason"], dead["message_id"]) == (3, "no answer", wanted.message_id)


async def test_a_send_that_raises_or_takes_too_long_is_a_failure_of_its_own(pool: Pool) -> None:
    async def behave(one: Delivery) -> Outcome:
        if one.provider == "raises.example:443":
            raise KeyError("x")
        if one.provider == "silent.example:443":
            await asyncio.Event().wait()
        return Delivered()

    fanout_id, channel = await make_fanout(pool), TestChannel(behave)
    providers = ("raises.example:443", "silent.example:443", "ok.example:443")
    await queue(pool, *(new(fanout_id, provider=provider) for provider in providers))
    async with running(pool, channel, notify_delivery_send_seconds_max=0.2):
        await eventually(lambda: is_drained(pool))
    assert await outcomes(pool, fanout_id) == {"delivered": 1, "failed": 2}
    reasons = {row["provider"]: row["reason"] for row in await pool.fetch("SELECT * FROM dead_deliveries")}
    assert reasons == {"raises.example:443": "KeyError: 'x'", "silent.example:443": "not over within 0.2 s"}


async def test_a_provider_that_asks_for_time_gets_it_from_all_and_no_attempt_is_spent(pool: Pool) -> None:
    busy_until: float | None = None
    too_early = 0

    def behave(one: Delivery) -> Outcome:
        nonlocal busy_until, too_early
        if one.provider == "busy.example:443":
            now = time.monotonic()
            busy_until = busy_until or now + 0.8
            if now < busy_until:
                too_early += 1
                return ProviderBusy("429", timedelta(seconds=1.2))
        return Delivered()

    channel = TestChannel(behave)
    await queue(pool, *(new(provider=provider) for provider in ["busy.example:443", "ok.example:443"] * 100))
    async with running(pool, channel, workers=2, notify_delivery_sends_per_provider_max=4):
        await eventually(lambda: channel.sent_to("ok.example:443") == 100)
        await eventually(lambda: is_drained(pool))
    assert 0 < too_early <= 2 * 4 + 2  # what the two workers had under way, and a claim that crossed with the pause
    assert {one.attempts for one in channel.sent} == {0}
    assert await pool.fetchval("SELECT count(*) FROM dead_deliveries") == 0


async def test_a_provider_that_hangs_holds_up_nobody_else(pool: Pool) -> None:
    async def behave(one: Delivery) -> Outcome:
        if one.provider == "slow.example:443":
            await asyncio.Event().wait()
        return Delivered()

    channel = TestChannel(behave)
    source_id = await seed_queue(pool, 3_000, provider="slow.example:443")
    await queue(pool, *(new(source_id, provider="ok.example:443") for _ in range(500)))
    async with running(
        pool,
        channel,
        notify_delivery_batch_max=200,
        notify_delivery_sends_max=16,
        notify_delivery_sends_per_provider_max=8,
        notify_delivery_send_seconds_max=60,
        notify_delivery_lease_seconds=90,
    ):
        await eventually(lambda: channel.sent_to("ok.example:443") == 500, 20)
        assert channel.at_once_max["slow.example:443"] <= 8
        assert channel.sent_to("slow.example:443") <= 8


async def test_a_provider_that_fails_and_fails_is_left_alone_and_probed(pool: Pool) -> None:
    works = False
    failed_at: list[float] = []

    def behave(one: Delivery) -> Outcome:
        if works:
            return Delivered()
        failed_at.append(time.monotonic())
        return Failed("connection refused")

    channel = TestChannel(behave, waits=(0.1,) * 50)
    fanout_id = await make_fanout(pool)
    await queue(pool, *(new(fanout_id) for _ in range(200)))
    async with running(
        pool,
        channel,
        notify_delivery_failures_max=5,
        notify_delivery_sends_per_provider_max=1,
        notify_delivery_pause_seconds_max=0.5,
    ):
        await eventually(lambda: is_paused(pool, failures=2))
        assert len(failed_at) > 5
        # what opened the breaker, and a probe after each pause
        assert all(later - earlier >= 0.5 for earlier, later in pairwise(failed_at[4:]))
        works = True
        await eventually(lambda: is_drained(pool))
        assert await pool.fetchval("SELECT count(*) FROM providers") == 0
    assert await outcomes(pool, fanout_id) == {"delivered": 200}


async def test_what_was_under_way_when_a_provider_was_left_alone_does_not_lengthen_that(pool: Pool) -> None:
    refuse = asyncio.Event()

    async def behave(_: Delivery) -> Outcome:
        await refuse.wait()
        return Failed("connection refused")

    channel = TestChannel(behave, waits=(600,))
    await queue(pool, *(new() for _ in range(20)))
    async with running(pool, channel, notify_delivery_failures_max=5):
        await eventually(lambda: len(channel.sent) == 20)
        refuse.set()
        await eventually(lambda: have_failed(pool, 20))
    assert await pool.fetchval("SELECT failures FROM providers") == 1


async def have_failed(pool: Pool, number: int) -> bool:
    return bool(await pool.fetchval("SELECT count(*) = $1 FROM deliveries WHERE attempts = 1", number))


async def is_paused(pool: Pool, *, failures: int) -> bool:
    return bool(await pool.fetchval("SELECT EXISTS (SELECT FROM providers WHERE failures >= $1)", failures))


async def test_deliveries_of_a_stopped_fanout_are_dropped_and_those_of_a_paused_one_wait(pool: Pool) -> None:
    channel = TestChannel()
    fanouts = {state: await make_fanout(pool, state=state) for state in ("cancelled", "ended", "paused", "completed")}
    await queue(pool, *(new(fanout_id) for fanout_id in fanouts.values() for _ in range(50)))
    async with running(pool, channel):
        await eventually(lambda: waits_alone(pool, 50))
        assert {one.source_id for one in channel.sent} == {fanouts["completed"]}
        assert await outcomes(pool, fanouts["cancelled"]) == {"dropped": 50}
        assert await outcomes(pool, fanouts["ended"]) == {"dropped": 50}
        await pool.execute("UPDATE fanouts SET state = 'running' WHERE state = 'paused'")
        await eventually(lambda: is_drained(pool))
    assert await outcomes(pool, fanouts["paused"]) == {"delivered": 50}


async def waits_alone(pool: Pool, number: int) -> bool:
    return await waiting(pool) == number


async def test_small_queues_do_not_wait_behind_a_large_one(pool: Pool) -> None:
    large = await seed_queue(pool, 20_000)
    small = {await seed_queue(pool, 10) for _ in range(100)}
    channel = TestChannel()
    async with running(pool, channel):
        await eventually(lambda: sum(one.source_id in small for one in channel.sent) == 1_000)
        assert sum(one.source_id == large for one in channel.sent) < 10_000


async def test_the_transactional_lane_does_not_wait_behind_100_000(pool: Pool) -> None:
    async def slowly(_: Delivery) -> Outcome:
        await asyncio.sleep(0.02)
        return Delivered()

    await seed_queue(pool, 100_000)
    bulk, urgent = TestChannel(slowly), TestChannel()
    async with running(pool, bulk), running(pool, urgent, lane=Lane.TRANSACTIONAL) as [worker]:
        await eventually(lambda: len(bulk.sent) > 100)
        await queue(pool, new(lane=Lane.TRANSACTIONAL))
        worker.wake()
        await eventually(lambda: len(urgent.sent) == 1)
        assert await waiting(pool) > 50_000
        assert all(one.source_id != urgent.sent[0].source_id for one in bulk.sent)


async def test_whoever_stops_lets_its_sends_end_and_gives_back_the_rest(pool: Pool) -> None:
    release = asyncio.Event()

    async def behave(_: Delivery) -> Outcome:
        await release.wait()
        return Delivered()

    async def release_when_the_rest_is_free() -> None:
        await eventually(lambda: are_free(pool, 96))
        release.set()

    await seed_queue(pool, 100)
    channel = TestChannel(behave)
    async with running(pool, channel, notify_delivery_sends_max=4, stop_grace_seconds=30.0):
        await eventually(lambda: len(channel.sent) == 4)
        releasing = asyncio.create_task(release_when_the_rest_is_free())
    await releasing
    assert len(channel.sent) == 4
    assert await waiting(pool) == 96
    assert await are_free(pool, 96)


async def are_free(pool: Pool, number: int) -> bool:
    free = "SELECT count(*) = $1 FROM deliveries WHERE lease IS NULL AND due_at <= clock_timestamp() AND attempts = 0"
    return bool(await pool.fetchval(free, number))


async def test_sends_that_do_not_end_in_time_are_given_back_too(pool: Pool) -> None:
    async def behave(_: Delivery) -> Outcome:
        await asyncio.Event().wait()
        return Delivered()

    await queue(pool, new())
    channel = TestChannel(behave)
    async with running(pool, channel, stop_grace_seconds=6.0):  # a quarter of it each for two tries to write it down
        await eventually(lambda: len(channel.sent) == 1)
    assert await pool.fetchval("SELECT count(*) FROM deliveries WHERE lease IS NULL AND attempts = 0") == 1


async def test_workers_go_on_after_their_connections_are_cut(pool: Pool, database: Database) -> None:
    async def slowly(_: Delivery) -> Outcome:
        await asyncio.sleep(0.01)
        return Delivered()

    await seed_queue(pool, 2_000)
    channel = TestChannel(slowly)
    settings = PostgresSettings(postgres_dsn=database.dsn)
    async with (
        open_pool(settings, schema="notify") as theirs,
        running(
            theirs,
            channel,
            workers=2,
            notify_delivery_batch_max=100,
            notify_delivery_lease_seconds=7,
            notify_delivery_send_seconds_max=0.5,
            # a machine that stands still for longer than that is not the provider's fault
            notify_delivery_failures_max=1_000,
        ),
    ):
        for wanted in (200, 700, 1_200):
            await eventually(lambda wanted=wanted: len(channel.sent) >= wanted)  # type: ignore[misc]  # mypy guesses the type of no default
            # the pool that looks on has this one connection, because nobody else uses it
            await pool.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        await eventually(lambda: is_drained(pool), 30)
    assert len({one.delivery_id for one in channel.sent}) == 2_000


async def test_upkeep_removes_what_is_empty_and_old_and_nothing_else(pool: Pool) -> None:
    await queue(pool, new(), new())
    async with running(pool, TestChannel()):
        await eventually(lambda: is_drained(pool))
    await queue(pool, new())
    upkeep = DeliveryUpkeep(pool, dead_kept=timedelta(days=1))
    assert await upkeep.sweep() == 0
    await pool.execute("UPDATE delivery_queues SET served_at = now() - interval '2 hours'")
    await pool.execute(
        "INSERT INTO dead_deliveries (delivery_id, channel, lane, source_id, message_id, user_id, destination_id, "
        "provider, attempts, reason, created_at, died_at) "
        "SELECT n, 'webpush', 'bulk', $1, $1, $1, $1, 'x', 1, 'x', now(), now() - make_interval(days => n) "
        "  FROM generate_series(0, 3) AS n",
        uuid7(),
    )
    await upkeep.sweep()
    assert await pool.fetchval("SELECT count(*) FROM delivery_queues") == 1
    assert await pool.fetchval("SELECT count(*) FROM dead_deliveries") == 1
    assert await waiting(pool) == 1


async def test_a_worker_takes_no_more_of_a_provider_than_it_has_room_for(pool: Pool) -> None:
    source_id = uuid7()
    await queue(
        pool, *(new(source_id, provider=provider) for provider in ("a:443", "b:443", "c:443") for _ in range(20))
    )
    await store.pause_providers(pool, ChannelName.WEBPUSH, [store.Pause("c:443", 60, 0, "asked")])
    taken = Counter(one.delivery.provider for one in await claim(pool, uuid4(), rooms={"a:443": 3, "c:443": 9}))
    assert taken == {"a:443": 3, "b:443": 20}
    await pool.execute("UPDATE providers SET paused_until = now(), failures = 1")
    taken = Counter(one.delivery.provider for one in await claim(pool, uuid4(), rooms={"a:443": 0}))
    assert taken == {"c:443": 1}


async def test_what_is_not_due_is_not_taken(pool: Pool) -> None:
    await queue(pool, new(due_at=datetime.now(UTC) + timedelta(minutes=1)))
    assert await claim(pool, uuid4()) == []
