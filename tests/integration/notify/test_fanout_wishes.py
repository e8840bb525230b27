"""Who is told by a page, and how: what followers want of everybody, of one channel, and at which hours."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeAlias
from uuid import UUID

import pytest

from runtime.ids import uuid7
from runtime.postgres import Pool
from tests.integration.notify.by_hand import ByHand, ids, started_at
from tests.integration.notify.processes import Person, seed
from tests.turns_of_the_clock import not_at_the_turn_of

ADA = Person("ada")
FAN = ids(1)[0]
OTHERS = ids(12)[1:]

Column: TypeAlias = bool | int | str | list[str]

DEFAULTS: dict[str, Column] = {
    "muted": False,
    "inbox": True,
    "webpush": True,
    "email": "off",
    "recordings": False,
    "time_zone": "UTC",
    "digest_hour": 8,
    "updated_at": "2026-01-01T00:00:00Z",
}
"""As in the table: a row that is made of JSON has no defaults."""

CASES: list[tuple[str, Mapping[str, Column], Mapping[str, Column], set[str]]] = [
    ("nothing said", {}, {}, {"inbox", "webpush"}),
    ("channel muted", {"muted": True}, {}, set()),
    ("silent", {"is_silent": True}, {}, set()),
    ("everything muted", {}, {"muted": True}, set()),
    ("inbox off", {}, {"inbox": False}, {"webpush"}),
    ("inbox off, on for the channel", {"inbox": True}, {"inbox": False}, {"inbox", "webpush"}),
    ("inbox off for the channel", {"inbox": False}, {}, {"webpush"}),
    ("push off", {}, {"webpush": False}, {"inbox"}),
    ("push off for the channel", {"webpush": False}, {"webpush": True}, {"inbox"}),
    ("push on for the channel", {"webpush": True}, {"webpush": False}, {"inbox", "webpush"}),
    ("each by mail", {}, {"email": "each"}, {"inbox", "webpush", "email"}),
    ("mail for the channel alone", {"email": True}, {}, {"inbox", "webpush", "email"}),
    ("no mail for the channel", {"email": False}, {"email": "each"}, {"inbox", "webpush"}),
    ("a digest by mail", {"email": True}, {"email": "digest"}, {"inbox", "webpush"}),
    ("its category", {"categories": ["chess", "go"]}, {}, {"inbox", "webpush"}),
    ("another category", {"categories": ["go"]}, {}, set()),
]


async def wish(pool: Pool, user_id: UUID, follow: Mapping[str, Column], preferences: Mapping[str, Column]) -> None:
    """Set these columns, and leave the others as they are."""
    await pool.execute(
        "UPDATE follows f SET muted = w.muted, is_silent = w.is_silent, inbox = w.inbox, webpush = w.webpush,"
        " email = w.email, categories = w.categories FROM follows o, jsonb_populate_record(o, $2::jsonb) w"
        " WHERE f.follower_id = $1 AND o.follower_id = $1",
        user_id,
        json.dumps(follow),
    )
    if preferences:
        await pool.execute(
            "INSERT INTO preferences SELECT p.* FROM jsonb_populate_record(NULL::preferences, $1::jsonb) p",
            json.dumps({**DEFAULTS, "user_id": str(user_id), **preferences}),
        )


async def destine(pool: Pool, user_id: UUID, *channels: str) -> None:
    for channel in channels:
        await pool.execute(
            "INSERT INTO destinations (destination_id, user_id, channel, provider) VALUES ($1, $2, $3, 'x:443')",
            uuid7(),
            user_id,
            channel,
        )


async def reached(pool: Pool, stream_id: UUID, user_id: UUID) -> set[str]:
    rows = await pool.fetch(
        "SELECT 'inbox' FROM notices WHERE notice_id = $1 AND user_id = $2"
        " UNION ALL SELECT channel FROM deliveries JOIN delivery_queues USING (queue_id)"
        " WHERE message_id = $1 AND source_id = $1 AND user_id = $2 AND lane = 'bulk'",
        stream_id,
        user_id,
    )
    assert len(rows) == len({row[0] for row in rows})
    return {row[0] for row in rows}


async def test_each_follower_is_told_as_they_wish(pool: Pool) -> None:
    by_hand = ByHand(pool)
    fans = ids(len(CASES))
    await seed(pool, ADA, fans)
    for fan, (_, follow, preferences, _) in zip(fans, CASES, strict=True):
        await wish(pool, fan, follow, preferences)
        await destine(pool, fan, "webpush", "email")
    stream = started_at(ADA, datetime.now(UTC), category="chess")
    await by_hand.begin(stream)
    await by_hand.tell_all()
    told = {name: await reached(pool, stream.stream_id, fan) for fan, (name, *_) in zip(fans, CASES, strict=True)}
    assert told == {name: wanted for name, _, _, wanted in CASES}
    counts = await pool.fetch("SELECT channel, outcome, recipients FROM fanout_outcomes ORDER BY channel")
    wanted = {name: sum(name in case[3] for case in CASES) for name in ("email", "inbox", "webpush")}
    assert [tuple(row) for row in counts] == [
        ("email", "queued", wanted["email"]),
        ("inbox", "told", wanted["inbox"]),
        ("webpush", "queued", wanted["webpush"]),
    ]
    expiry = await pool.fetch(
        "SELECT DISTINCT channel, expires_at - due_at FROM deliveries JOIN delivery_queues USING (queue_id) ORDER BY 1"
    )
    assert [tuple(row) for row in expiry] == [("email", timedelta(hours=12)), ("webpush", timedelta(hours=4))]


async def test_who_filters_by_category_hears_nothing_of_a_stream_without_one(pool: Pool) -> None:
    by_hand = ByHand(pool)
    await seed(pool, ADA, [FAN])
    await wish(pool, FAN, {"categories": ["chess"]}, {})
    stream = started_at(ADA, datetime.now(UTC))
    await by_hand.begin(stream)
    await by_hand.tell_all()
    assert await reached(pool, stream.stream_id, FAN) == set()


@pytest.mark.parametrize(
    ("zone", "quiet_from", "quiet_until", "is_quiet"),
    [
        ("UTC", -1, 1, True),
        ("UTC", 1, 2, False),
        ("UTC", -2, -1, False),
        ("UTC", 1, -1, False),
        ("Asia/Tokyo", 8, 10, True),
        ("Asia/Tokyo", -1, 1, False),
        ("Nowhere/Land", -1, 1, True),
    ],
)
async def test_quiet_hours_are_of_the_followers_time_zone_and_may_span_midnight(
    pool: Pool, zone: str, quiet_from: int, quiet_until: int, is_quiet: bool
) -> None:
    """The hours are counted from now in UTC, so that they span midnight at some time of the day."""
    by_hand, now = ByHand(pool), datetime.now(UTC)
    await seed(pool, ADA, [FAN])
    await destine(pool, FAN, "webpush")
    hours = {"from": now + timedelta(hours=quiet_from), "until": now + timedelta(hours=quiet_until)}
    await pool.execute(
        "INSERT INTO preferences (user_id, time_zone, quiet_from, quiet_until) VALUES ($1, $2, $3, $4)",
        FAN,
        zone,
        hours["from"].time(),
        hours["until"].time(),
    )
    stream = started_at(ADA, now)
    await by_hand.begin(stream)
    await by_hand.tell_all()
    assert await reached(pool, stream.stream_id, FAN) == ({"inbox"} if is_quiet else {"inbox", "webpush"})
    outcome = await pool.fetchval("SELECT outcome FROM fanout_outcomes WHERE channel = 'webpush'")
    assert outcome == ("quiet" if is_quiet else "queued")


@pytest.mark.parametrize(
    ("clock", "is_quiet"),
    [("21:59", False), ("22:00", True), ("23:59:59", True), ("00:00", True), ("06:59", True), ("07:00", False)],
)
async def test_quiet_hours_over_midnight_hold_on_both_sides_of_it(pool: Pool, clock: str, is_quiet: bool) -> None:
    assert await pool.fetchval("SELECT is_within($1::text::time, '22:00', '07:00')", clock) == is_quiet
    assert await pool.fetchval("SELECT is_within($1::text::time, '07:00', '22:00')", clock) != is_quiet
    assert not await pool.fetchval("SELECT is_within($1::text::time, '07:00', '07:00')", clock)


async def test_the_daily_cap_counts_the_notices_of_the_day_where_the_follower_is(pool: Pool) -> None:
    await not_at_the_turn_of(3_600)  # one of them is midnight there
    by_hand = ByHand(pool)
    await seed(pool, ADA, [FAN, *OTHERS])
    await destine(pool, FAN, "webpush")
    await wish(pool, FAN, {}, {"daily_notices_max": 2, "time_zone": "Pacific/Kiritimati"})
    # the day before, by the follower's clock
    midnight = "date_trunc('day', now() AT TIME ZONE 'Pacific/Kiritimati') AT TIME ZONE 'Pacific/Kiritimati'"
    await pool.execute(
        f"INSERT INTO notices (user_id, notice_id) SELECT $1, uuid7_floor({midnight} - interval '1 minute')", FAN
    )
    said = []
    for _ in range(3):
        said.append(started_at(ADA, datetime.now(UTC)))
        await by_hand.begin(said[-1])
        await by_hand.tell_all()
    told = [await reached(pool, stream.stream_id, FAN) for stream in said]
    assert told == [{"inbox", "webpush"}, {"inbox", "webpush"}, {"inbox"}]
    assert await pool.fetchval("SELECT recipients FROM fanout_outcomes WHERE outcome = 'capped'") == 1


async def test_every_browser_of_a_follower_has_a_delivery_of_its_own_and_only_once(pool: Pool) -> None:
    by_hand = ByHand(pool)
    await seed(pool, ADA, [FAN])
    await destine(pool, FAN, "webpush", "webpush", "webhook")
    stream = started_at(ADA, datetime.now(UTC))
    await by_hand.begin(stream)
    pages = await by_hand.pages()
    await by_hand.tell(*pages, *pages)
    rows = await pool.fetch("SELECT destination_id FROM deliveries")
    assert len(rows) == len({row["destination_id"] for row in rows}) == 2


async def test_a_mute_meanwhile_is_honoured_by_the_pages_that_are_not_written_yet(pool: Pool) -> None:
    by_hand, everybody = ByHand(pool), ids(15)
    await seed(pool, ADA, everybody)
    stream = started_at(ADA, datetime.now(UTC))
    await by_hand.begin(stream)
    first, second = await by_hand.pages()
    await by_hand.tell(first)
    for fan in (everybody[2], everybody[12]):
        await wish(pool, fan, {"muted": True}, {})
    await by_hand.tell(second)
    assert await pool.fetchval("SELECT count(*) FROM notices") == 14
