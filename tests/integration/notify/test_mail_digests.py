"""One digest a day, at an hour that everybody chooses, with what they have not read."""

import asyncio
from collections.abc import Mapping, Sequence
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from notify.mail.digest import DIGESTS, PEOPLE_MAX, Digests
from runtime.ids import uuid7
from runtime.postgres import Pool
from tests.integration.notify.conftest import StartNotify
from tests.integration.notify.mail_scene import add_fanout, add_mailboxes, mail_scene
from tests.integration.notify.processes import eventually
from tests.turns_of_the_clock import not_at_the_turn_of

PROVIDER = "smtp.test:25"


@pytest.fixture(autouse=True)
async def within_one_hour() -> None:
    """Who is due must not change while a test says who is."""
    await not_at_the_turn_of(900)


@pytest.fixture
def digests(pool: Pool) -> Digests:
    return Digests(pool, provider=PROVIDER)


async def person(
    pool: Pool, *, hours_past: int = 0, time_zone: str = "UTC", notices: int = 1, email: str = "digest"
) -> UUID:
    """Somebody with a mailbox and unread notices, whose digest hour in their zone was `hours_past` hours ago."""
    user_id = uuid7()
    await add_mailboxes(pool, [user_id], PROVIDER)
    hour = await pool.fetchval("SELECT extract(hour FROM wall_clock($1))::int", time_zone)
    await pool.execute(
        "INSERT INTO preferences (user_id, email, time_zone, digest_hour) VALUES ($1, $2, $3, $4)",
        user_id,
        email,
        time_zone,
        (hour - hours_past) % 24,
    )
    for _ in range(notices):
        await pool.execute("INSERT INTO notices (user_id, notice_id) VALUES ($1, $2)", user_id, await add_fanout(pool))
    return user_id


async def queued(pool: Pool) -> dict[UUID, int]:
    """How many digests each person has in the queue."""
    rows = await pool.fetch(
        "SELECT user_id, count(*) FROM deliveries JOIN delivery_queues USING (queue_id)"
        " WHERE source_id = $1 GROUP BY user_id",
        DIGESTS,
    )
    return {row["user_id"]: row["count"] for row in rows}


async def test_who_is_due(pool: Pool, digests: Digests) -> None:
    now, late = await person(pool), await person(pool, hours_past=2)
    elsewhere = await person(pool, time_zone="Pacific/Kiritimati")
    half = await person(pool, time_zone="Asia/Kathmandu")
    for hours in (3, -1, 12):
        await person(pool, hours_past=hours)
    for email in ("each", "off"):
        await person(pool, email=email)
    nothing = await person(pool, notices=0)
    nowhere = await person(pool, time_zone="Mars/Olympus_Mons")  # not known any more: taken for UTC
    assert await digests.make() == 5
    assert await queued(pool) == dict.fromkeys((now, late, elsewhere, half, nowhere), 1)
    assert nothing not in await queued(pool)
    assert await digests.make() == 0, "once a day"


async def test_a_killed_connection_postpones_and_ends_nothing(pool: Pool, digests: Digests) -> None:
    """Its statement says that the server ended it, the transaction around it that the connection is closed."""
    await person(pool)
    waits = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with pool.acquire() as connection:
        async with connection.transaction():
            await connection.execute("LOCK TABLE mailboxes IN ACCESS EXCLUSIVE MODE")
            with capture_logs() as told:
                making = asyncio.create_task(digests.run())
                await eventually(lambda: pool.fetchval(waits))
                await connection.execute("SELECT pg_terminate_backend($1)", await pool.fetchval(waits))
                await eventually(lambda: making.done() or events_of(told) != [])
        assert events_of(told) == ["digests_postponed"]
    making.cancel()
    await asyncio.wait([making])
    assert await digests.make() == 1


def events_of(told: Sequence[Mapping[str, object]]) -> list[object]:
    """What was written down, but for statements that took long, such as one that waits for a lock."""
    return [one["event"] for one in told if one["event"] != "query_slow"]


async def test_many_at_once_make_one(pool: Pool, digests: Digests) -> None:
    """Of more people than a transaction takes, in several time zones."""
    zones = ["UTC", "Europe/Berlin", "Asia/Tokyo"]
    one_of_each = [await person(pool, time_zone=zone) for zone in zones]
    others = [uuid7() for _ in range(2 * PEOPLE_MAX + 50)]
    await add_mailboxes(pool, others, PROVIDER)
    for number, like in enumerate(one_of_each):
        mine = others[number :: len(one_of_each)]
        await pool.execute(
            "INSERT INTO preferences (user_id, email, time_zone, digest_hour)"
            " SELECT u, 'digest', time_zone, digest_hour FROM preferences, unnest($1::uuid[]) AS u WHERE user_id = $2",
            mine,
            like,
        )
    await pool.execute(
        "INSERT INTO notices (user_id, notice_id) SELECT unnest($1::uuid[]), $2", others, await add_fanout(pool)
    )
    await asyncio.gather(*(digests.make() for _ in range(4)))
    while await digests.make():  # those that another had in hand at that moment
        pass
    assert await queued(pool) == dict.fromkeys([*one_of_each, *others], 1)


async def test_the_next_day_has_its_own_with_what_came_since(pool: Pool, digests: Digests) -> None:
    user_id = await person(pool, notices=2)
    assert await digests.make() == 1
    await pool.execute("UPDATE notices SET created_at = created_at - interval '1 day'")
    await pool.execute("UPDATE mail_digests SET digest_day = digest_day - 1, made_at = now() - interval '1 day'")
    assert await digests.make() == 0, "what was in the digest before is no news"
    await pool.execute("UPDATE mail_digests SET digest_day = digest_day - 1, made_at = now() - interval '1 day'")
    await pool.execute(
        "INSERT INTO notices (user_id, notice_id) VALUES ($1, $2)", user_id, newest := await add_fanout(pool)
    )
    assert await digests.make() == 1
    contents = await pool.fetch("SELECT content->'notice_ids' FROM deliveries ORDER BY delivery_id DESC")
    assert str(newest) in contents[0][0]
    assert len(contents) == 2


async def test_what_was_read_is_not_in_it(pool: Pool, digests: Digests) -> None:
    all_read, one_read = await person(pool, notices=2), await person(pool, notices=2)
    newest = await pool.fetchval("SELECT max(notice_id::text)::uuid FROM notices WHERE user_id = $1", all_read)
    await pool.execute("INSERT INTO inboxes VALUES ($1, $2)", all_read, newest)
    await pool.execute(
        "UPDATE notices SET read_at = now() WHERE user_id = $1 AND notice_id ="
        " (SELECT min(notice_id::text)::uuid FROM notices WHERE user_id = $1)",
        one_read,
    )
    assert await digests.make() == 1
    assert await pool.fetchval("SELECT content->>'unread' FROM deliveries WHERE user_id = $1", one_read) == "1"


async def test_a_failure_half_way_makes_it_later(pool: Pool, digests: Digests) -> None:
    """The day is noted in the transaction that queues the mail: both or neither."""
    user_id = await person(pool)
    await pool.execute("ALTER TABLE deliveries ADD CONSTRAINT broken CHECK (false)")
    with pytest.raises(Exception, match="broken"):
        await digests.make()
    await pool.execute("ALTER TABLE deliveries DROP CONSTRAINT broken")
    assert await digests.make() == 1
    assert await queued(pool) == {user_id: 1}


async def test_a_long_digest_is_cut_and_says_so(start_notify: StartNotify, pool: Pool) -> None:
    user_id = await person(pool, notices=60)
    await pool.execute("UPDATE fanouts SET title = '<b>&</b>'")
    async with mail_scene(start_notify, pool) as scene:
        await eventually(lambda: bool(scene.server.mails))
        [mail] = scene.server.mails
        assert mail.message["Subject"] == "60 unread notices"
        assert mail.text.count("- ada was live: <b>&</b>") == 50
        assert "and 10 more: http://edge.test" in mail.text
        assert "<b>&</b>" not in mail.html
        assert user_id in await digested(pool)


async def digested(pool: Pool) -> set[UUID]:
    return {row["user_id"] for row in await pool.fetch("SELECT user_id FROM mail_digests")}
