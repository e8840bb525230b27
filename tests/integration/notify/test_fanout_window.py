"""Pages: every follower in exactly one, a window of them outstanding, and small channels beside a huge one."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from uuid import UUID

from eventbus.bus_memory import MemoryBus
from events import FanoutPagePlanned, StreamStarted
from notify.store import FIRST_USER_ID, LAST_USER_ID
from runtime.ids import uuid7
from runtime.postgres import Pool
from tests.integration.notify.by_hand import LIMITS, ByHand, started_at
from tests.integration.notify.conftest import StartNotify
from tests.integration.notify.processes import Person, eventually, say, seed

ADA = Person("ada")
SMALL_CHANNELS = 100
SMALL_FOLLOWERS = 5
WINDOW_PAGES = 24
HUGE_FOLLOWERS = 20_000
HUGE_PAGE_FOLLOWERS = 100
"""As many pages as 200,000 followers make by default: the pages are what small channels would wait for."""


async def test_every_follower_is_in_exactly_one_page_of_bounded_size(pool: Pool) -> None:
    chance = Random(5)
    for _ in range(15):
        page_followers, window = chance.randint(1, 12), chance.randint(1, 9)
        sizes = [0, 1, page_followers, page_followers * window, page_followers * 3 + 1, chance.randint(1, 150)]
        followers = [UUID(int=number) for number in chance.sample(range(1, 100_000), chance.choice(sizes))]
        by_hand = ByHand(pool, replace(LIMITS, page_followers=page_followers, window_pages=window))
        event = started_at(Person("somebody"), datetime.now(UTC))
        await seed(pool, Person("somebody", event.channel_id), followers)
        pages = await _tell_in_any_order(by_hand, event, chance, window)
        starts = [page.after_follower_id or FIRST_USER_ID for page in pages]
        assert [page.page_number for page in pages] == list(range(1, len(pages) + 1))
        assert starts == [FIRST_USER_ID, *(page.last_follower_id for page in pages)][: len(pages)]
        assert not pages or pages[-1].last_follower_id == LAST_USER_ID
        in_page = Counter(
            number
            for number, (page, start) in enumerate(zip(pages, starts, strict=True))
            for follower in followers
            if start < follower <= page.last_follower_id
        )
        assert sum(in_page.values()) == len(followers)
        assert all(size <= page_followers for size in in_page.values())
        assert len(pages) == -(-len(followers) // page_followers)
        assert (await by_hand.stands(event.stream_id)).recipients == len(followers)


async def _tell_in_any_order(
    by_hand: ByHand, event: StreamStarted, chance: Random, window: int
) -> list[FanoutPagePlanned]:
    """The fan-out's pages, after all of them were told, those of a step in any order."""
    await by_hand.begin(event)
    pages: list[FanoutPagePlanned] = []
    while new := [page for page in await by_hand.pages() if page.fanout_id == event.stream_id][len(pages) :]:
        assert len(new) <= window
        pages += new
        for page in chance.sample(new, len(new)):
            await by_hand.tell(page)
            stands = await by_hand.stands(event.stream_id)
            assert stands.pages_planned - stands.pages_done <= window
    assert (await by_hand.stands(event.stream_id)).completed_at is not None
    return pages


async def test_followers_who_all_leave_between_two_steps_leave_one_page_for_the_rest_of_the_ids(pool: Pool) -> None:
    await seed(pool, ADA, [UUID(int=number) for number in range(1, 100)])
    by_hand = ByHand(pool)
    event = started_at(ADA, datetime.now(UTC))
    await by_hand.begin(event)
    await pool.execute("DELETE FROM follows")
    assert await by_hand.tell_all() == 5
    assert (await by_hand.pages())[-1].last_follower_id == LAST_USER_ID
    assert (await by_hand.stands(event.stream_id)).completed_at is not None


async def test_100_small_channels_that_start_behind_a_huge_one_wait_for_a_window_of_its_pages(pool: Pool) -> None:
    """In the order in which pages are said, as in one partition of the topic; the huge one is said first."""
    by_hand = ByHand(pool, replace(LIMITS, page_followers=HUGE_PAGE_FOLLOWERS, window_pages=WINDOW_PAGES))
    smalls = await _seed(pool)
    huge = started_at(ADA, datetime.now(UTC))
    for event in (huge, *(started_at(small, datetime.now(UTC)) for small in smalls)):
        await by_hand.begin(event)
    said = await by_hand.pages()
    await by_hand.tell(*said)
    assert len(said) == WINDOW_PAGES + SMALL_CHANNELS
    assert await _small_ones_told(pool) == SMALL_CHANNELS
    stands = await by_hand.stands(huge.stream_id)
    assert (stands.pages_done, stands.pages_expected) == (WINDOW_PAGES, HUGE_FOLLOWERS // HUGE_PAGE_FOLLOWERS)


async def test_100_small_channels_are_told_while_a_huge_one_still_is(
    start_notify: StartNotify, bus: MemoryBus, pool: Pool
) -> None:
    smalls = await _seed(pool)
    await start_notify(notify_page_followers_max=HUGE_PAGE_FOLLOWERS, notify_window_pages_max=WINDOW_PAGES)
    huge = started_at(ADA, datetime.now(UTC))
    await say(bus, huge)
    await eventually(lambda: _pages_done(pool, huge, at_least=1))
    await say(bus, *(started_at(small, datetime.now(UTC)) for small in smalls))

    async def all_have_begun() -> bool:
        return bool(await pool.fetchval("SELECT count(begun_at) FROM fanouts") == SMALL_CHANNELS + 1)

    async def all_small_are_told() -> bool:
        return await _small_ones_told(pool) == SMALL_CHANNELS

    await eventually(all_have_begun, 60)
    now = await pool.fetchval("SELECT clock_timestamp()")
    await eventually(all_small_are_told, 60)
    ahead = await pool.fetchval(
        "SELECT count(*) FROM fanout_pages WHERE fanout_id = $1 AND done_at > $2"
        "   AND done_at < (SELECT max(completed_at) FROM fanouts WHERE channel_id <> $3)",
        huge.stream_id,
        now,
        ADA.user_id,
    )
    # pages of different partitions overtake each other, so how many windows it is depends on the machine
    assert ahead < HUGE_FOLLOWERS / HUGE_PAGE_FOLLOWERS * 2 / 3
    # what was to be shown is shown; the other pages would only take time
    await pool.execute("UPDATE fanouts SET state = 'cancelled' WHERE fanout_id = $1", huge.stream_id)


async def _small_ones_told(pool: Pool) -> int:
    query = "SELECT count(*) FROM fanouts WHERE channel_id <> $1 AND state = 'completed' AND recipients = $2"
    told: int = await pool.fetchval(query, ADA.user_id, SMALL_FOLLOWERS)
    return told


async def _seed(pool: Pool) -> list[Person]:
    """One huge channel, which is Ada's, and many small ones."""
    await _seed_huge(pool)
    smalls = [Person(f"small{number}") for number in range(SMALL_CHANNELS)]
    for small in smalls:
        await seed(pool, small, [uuid7() for _ in range(SMALL_FOLLOWERS)])
    return smalls


async def _seed_huge(pool: Pool) -> None:
    await pool.execute("INSERT INTO people SELECT $1, 'ada'", ADA.user_id)
    await pool.execute(
        "INSERT INTO people SELECT md5(n::text)::uuid, 'f' FROM generate_series(1, $1::integer) AS n", HUGE_FOLLOWERS
    )
    await pool.execute(
        "INSERT INTO follows SELECT $1, md5(n::text)::uuid, now() - interval '1 day'"
        " FROM generate_series(1, $2::integer) AS n",
        ADA.user_id,
        HUGE_FOLLOWERS,
    )


async def _pages_done(pool: Pool, event: StreamStarted, *, at_least: int) -> bool:
    done = await pool.fetchval("SELECT pages_done FROM fanouts WHERE fanout_id = $1", event.stream_id)
    return done is not None and done >= at_least
