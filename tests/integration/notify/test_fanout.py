"""Every follower is told once: pages, repetitions, and follower lists that change meanwhile."""

from datetime import timedelta
from uuid import UUID

import pytest

from console.seed_followers import seed_followers
from eventbus.bus_memory import MemoryBus
from events import FanoutPagePlanned
from runtime.postgres import Pool
from tests.engines import Database
from tests.integration.notify.by_hand import ByHand, ids
from tests.integration.notify.conftest import StartNotify
from tests.integration.notify.processes import (
    Person,
    eventually,
    fanout_is_complete,
    notices_by_person,
    say,
    seed,
    started,
)

ADA = Person("ada")
EVERY_DAY = """
    WITH written AS (
        INSERT INTO notices
        SELECT $1, uuid7_floor(month + n * interval '1 day')
          FROM date_trunc('month', now(), 'UTC') AS month, generate_series(0, 425) AS n
        RETURNING 1
    )
    SELECT count(*) FROM written
"""
"""A notice each day from the beginning of this month on, into the month after the next twelve."""


@pytest.fixture
def by_hand(pool: Pool) -> ByHand:
    """Pages of 10 followers, no more than 4 at a time."""
    return ByHand(pool)


async def test_5000_followers_are_told_in_5_pages_and_repetitions_change_nothing(
    start_notify: StartNotify, database: Database, bus: MemoryBus, pool: Pool
) -> None:
    notify = await start_notify()
    assert await seed_followers(database.url, ADA.user_id, count=5_000) == 5_000
    assert await seed_followers(database.url, ADA.user_id, count=5_000) == 0
    event = started(ADA)
    await say(bus, event)
    await eventually(lambda: fanout_is_complete(pool, event.stream_id))
    told = await notices_by_person(pool, event.stream_id)
    assert len(told) == 5_000
    assert set(told.values()) == {1}
    before = await notify.call("GET", f"/api/fanouts/{event.stream_id}", ADA)
    assert before[0] == 200
    assert (before[1]["pages_planned"], before[1]["pages_done"], before[1]["recipients"]) == (5, 5, 5_000)

    pages = [
        FanoutPagePlanned.model_validate_json(row["data"])
        for row in await pool.fetch("SELECT data FROM outbox WHERE topic = 'fanout-pages.v1'")
    ]
    assert sorted(page.page_number for page in pages) == [1, 2, 3, 4, 5]
    for _ in range(2):
        await say(bus, event, *pages)
    handled = "SELECT count(*) FROM inbox WHERE consumer = 'notify-pages'"
    await eventually(lambda: _is(pool, handled, 15))
    await eventually(lambda: _is(pool, "SELECT count(*) FROM inbox WHERE consumer = 'notify'", 3))
    assert await notices_by_person(pool, event.stream_id) == told
    assert await notify.call("GET", f"/api/fanouts/{event.stream_id}", ADA) == before
    assert await pool.fetchval("SELECT count(*) FROM outbox") == 5


async def _is(pool: Pool, query: str, wanted: int) -> bool:
    return bool(await pool.fetchval(query) == wanted)


async def test_a_channel_without_followers_has_nothing_to_tell(by_hand: ByHand, pool: Pool) -> None:
    event = started(ADA)
    await by_hand.begin(event)
    assert await by_hand.pages() == []
    assert await fanout_is_complete(pool, event.stream_id)


async def test_a_large_plan_goes_on_page_by_page_and_never_has_more_than_a_window_outstanding(
    by_hand: ByHand, pool: Pool
) -> None:
    await seed(pool, ADA, ids(95))
    event = started(ADA)
    await by_hand.begin(event)
    told: set[int] = set()
    while remaining := [page for page in await by_hand.pages() if page.page_number not in told]:
        assert len(remaining) <= 4
        page = remaining[0]
        await by_hand.tell(page, page)
        told.add(page.page_number)
    assert told == set(range(1, 11))
    assert await notices_by_person(pool, event.stream_id) == dict.fromkeys(ids(95), 1)
    row = await pool.fetchrow("SELECT pages_planned, pages_done, recipients, completed_at FROM fanouts")
    assert row is not None
    assert (row["pages_planned"], row["pages_done"], row["recipients"]) == (10, 10, 95)
    assert row["completed_at"] is not None


async def test_pages_told_in_any_order_complete_the_fanout_once(by_hand: ByHand, pool: Pool) -> None:
    await seed(pool, ADA, ids(25))
    event = started(ADA)
    await by_hand.begin(event)
    for page in reversed(await by_hand.pages()):
        assert not await fanout_is_complete(pool, event.stream_id)
        await by_hand.tell(page)
    assert await fanout_is_complete(pool, event.stream_id)


async def test_an_unfollow_is_honoured_by_the_pages_that_are_not_written_yet(by_hand: ByHand, pool: Pool) -> None:
    everybody = ids(25)
    await seed(pool, ADA, everybody)
    event = started(ADA)
    await by_hand.begin(event)
    first, second, third = await by_hand.pages()
    await by_hand.tell(first)
    for gone in (everybody[3], everybody[14], everybody[19]):
        await pool.execute("DELETE FROM follows WHERE follower_id = $1", gone)
    await by_hand.tell(second)
    await by_hand.tell(third)
    assert await notices_by_person(pool, event.stream_id) == dict.fromkeys(
        set(everybody) - {everybody[14], everybody[19]}, 1
    )


async def test_who_follows_meanwhile_is_not_told_and_moves_nobody(by_hand: ByHand, pool: Pool) -> None:
    everybody = ids(25)
    await seed(pool, ADA, everybody)
    event = started(ADA)
    await by_hand.begin(event)
    # in front of, between and behind the planned pages, far more than a page holds
    newcomers = [UUID(int=follower.int - n) for follower in everybody for n in (1, 2, 3)] + [UUID(int=2**100)]
    pages = await by_hand.pages()
    await by_hand.tell(pages[0])
    await seed(pool, ADA, newcomers, ago=timedelta(seconds=-1))
    for page in pages[1:]:
        await by_hand.tell(page)
    assert await notices_by_person(pool, event.stream_id) == dict.fromkeys(everybody, 1)
    assert len(await by_hand.pages()) == 3


async def test_a_follow_from_before_the_start_that_is_committed_after_the_plan_is_told(
    by_hand: ByHand, pool: Pool
) -> None:
    everybody = ids(25)
    await seed(pool, ADA, everybody)
    event = started(ADA)
    await by_hand.begin(event)
    late = [UUID(int=1), UUID(int=12_500), UUID(int=2**127)]
    await seed(pool, ADA, late, ago=timedelta(minutes=5))
    for page in await by_hand.pages():
        await by_hand.tell(page)
    assert await notices_by_person(pool, event.stream_id) == dict.fromkeys([*everybody, *late], 1)


async def test_two_streams_of_a_channel_are_two_notices(by_hand: ByHand, pool: Pool) -> None:
    await seed(pool, ADA, ids(5))
    for event in (started(ADA), started(ADA)):
        await by_hand.begin(event)
    for page in await by_hand.pages():
        await by_hand.tell(page)
    assert await pool.fetchval("SELECT count(*) FROM notices") == 10
    assert await pool.fetchval("SELECT count(*) FROM notices_other_months") == 0


async def test_the_months_of_the_inbox_are_made_once(pool: Pool) -> None:
    assert await pool.fetchval("SELECT make_notice_months(2)") == 0
    assert await pool.fetchval("SELECT make_notice_months(14)") == 12
    assert await pool.fetchval(EVERY_DAY, ADA.user_id) > 400
    assert await pool.fetchval("SELECT count(*) FROM notices_other_months") == 0


async def test_a_month_that_was_not_made_in_time_is_kept_elsewhere_and_found(pool: Pool) -> None:
    await pool.execute(EVERY_DAY, ADA.user_id)
    assert await pool.fetchval("SELECT make_notice_months(5)") == 0
    assert await pool.fetchval("SELECT make_notice_months(16)") == 3
    assert await pool.fetchval("SELECT count(*) FROM notices") > 400
