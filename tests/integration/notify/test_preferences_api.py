"""What people want of all channels: kept, checked, made true of their follows, and their own alone."""

from datetime import timedelta
from typing import Any

from notify import preferences_store, store
from notify.preferences import Preferences
from runtime.postgres import Pool
from tests.contract.held_client import HeldClient
from tests.integration.notify.processes import Person, seed

ADA, BOB, EVE = Person("ada"), Person("bob"), Person("eve")
PATH = "/api/notifications/preferences"


async def change(client: HeldClient, person: Person, **fields: object) -> dict[str, Any]:
    answer = await client.request("PATCH", PATH, token=person.token, json=fields)
    assert answer.status == 200, answer.body
    body: dict[str, Any] = answer.body
    return body


async def want_notices(pool: Pool, channel: Person) -> int:
    counts = await pool.fetchrow("SELECT * FROM follower_counts WHERE channel_id = $1", channel.user_id)
    assert counts is not None
    wanting: int = counts["want_notices"]
    return wanting


async def test_the_defaults_are_those_of_the_table(client: HeldClient, pool: Pool) -> None:
    shown = (await client.get(PATH, token=BOB.token)).body
    async with pool.acquire() as connection:
        await connection.execute("INSERT INTO preferences (user_id) VALUES ($1)", EVE.user_id)
        assert await preferences_store.find_preferences(connection, EVE.user_id) == Preferences()
    assert (await client.get(PATH, token=EVE.token)).body == shown


async def test_preferences_change_field_by_field_and_are_ones_own(client: HeldClient) -> None:
    defaults = (await client.get(PATH, token=BOB.token)).body
    wanted = {
        "email": "digest",
        "recordings": True,
        "time_zone": "Europe/Berlin",
        "quiet_from": "22:30",
        "quiet_until": "07:00",
        "daily_notices_max": 5,
        "digest_hour": 19,
    }
    assert await change(client, BOB, **wanted) == {**defaults, **wanted}
    changed = await change(client, BOB, quiet_from=None, quiet_until=None, daily_notices_max=None, webpush=False)
    assert changed == (await client.get(PATH, token=BOB.token)).body
    assert (changed["quiet_from"], changed["daily_notices_max"], changed["webpush"]) == (None, None, False)
    assert (changed["email"], changed["time_zone"]) == ("digest", "Europe/Berlin")
    assert (await client.get(PATH, token=EVE.token)).body == defaults
    for method, path in (("GET", PATH), ("PATCH", PATH), ("POST", f"{PATH}/back")):
        assert (await client.request(method, path)).status == 401


async def test_a_zone_that_is_none_is_named(client: HeldClient) -> None:
    for zone in ("Mars/Olympus", "", "CET-1", "<+03>-3", "localtime", "Europe/Berlin\0", "x" * 101, "berlin"):
        answer = await client.request("PATCH", PATH, token=BOB.token, json={"time_zone": zone})
        assert (answer.status, answer.problem) == (422, "validation-failed"), zone
        [error] = answer.body["errors"]
        assert error["field"] in ("body.time_zone", "body")
        if zone == "Mars/Olympus":
            assert error["field"] == "body.time_zone"
            assert "'Mars/Olympus' is no time zone of the IANA database" in error["message"]


async def test_every_zone_that_is_taken_is_one_that_postgres_computes_with(client: HeldClient, pool: Pool) -> None:
    for zone in ("UTC", "Asia/Kolkata", "America/Argentina/Buenos_Aires", "Etc/GMT+5"):
        assert (await change(client, BOB, time_zone=zone))["time_zone"] == zone
        assert await pool.fetchval("SELECT now() AT TIME ZONE $1", zone)


async def test_what_cannot_be_wanted_is_refused_by_its_field(client: HeldClient) -> None:
    cases: list[tuple[dict[str, object], str]] = [
        ({"quiet_from": "22:00"}, "body.quiet_until"),
        ({"quiet_until": "22:00"}, "body.quiet_from"),
        ({"quiet_from": "22:00", "quiet_until": "22:00"}, "body.quiet_until"),
        ({"quiet_from": "24:00", "quiet_until": "07:00"}, "body.quiet_from"),
        ({"quiet_from": "22:00Z", "quiet_until": "07:00"}, "body.quiet_from"),
        ({"daily_notices_max": -1}, "body.daily_notices_max"),
        ({"daily_notices_max": 10**12}, "body.daily_notices_max"),
        ({"digest_hour": 24}, "body.digest_hour"),
        ({"email": "sometimes"}, "body.email"),
        ({"muted": None}, "body.muted"),
        ({"away_since": None}, "body.away_since"),
    ]
    for body, field in cases:
        answer = await client.request("PATCH", PATH, token=BOB.token, json=body)
        assert (answer.status, answer.body["errors"][0]["field"]) == (422, field), body


async def test_who_has_muted_everything_wants_nothing_of_old_and_of_new_follows(client: HeldClient, pool: Pool) -> None:
    await seed(pool, ADA, [BOB.user_id, EVE.user_id])
    await store.keep_person(pool, EVE.user_id, EVE.name)
    await change(client, BOB, muted=True)
    assert await want_notices(pool, ADA) == 1
    await client.put(f"/api/users/{EVE.user_id}/followers/me", token=BOB.token)
    assert await want_notices(pool, EVE) == 0
    await change(client, BOB, muted=False)
    assert (await want_notices(pool, ADA), await want_notices(pool, EVE)) == (2, 1)


async def test_who_was_away_is_told_so_and_comes_back_by_one_call(client: HeldClient, pool: Pool) -> None:
    await seed(pool, ADA, [BOB.user_id, EVE.user_id])
    await be_away(pool, BOB)
    shown = (await client.get(PATH, token=BOB.token)).body
    inbox = (await client.get("/api/notifications", token=BOB.token)).body
    assert shown["away_since"] == inbox["away_since"] is not None
    assert shown["to_come_back"] == inbox["to_come_back"] == f"POST {PATH}/back"
    assert (await client.post(f"{PATH}/back", token=EVE.token)).body["away_since"] is None
    assert await want_notices(pool, ADA) == 1
    for _ in range(2):
        assert (await client.post(f"{PATH}/back", token=BOB.token)).body["away_since"] is None
        assert await want_notices(pool, ADA) == 2
    assert (await client.get("/api/notifications", token=BOB.token)).body["to_come_back"] is None


async def test_coming_back_leaves_muted_who_has_muted_everything(client: HeldClient, pool: Pool) -> None:
    await seed(pool, ADA, [BOB.user_id])
    await be_away(pool, BOB)
    await change(client, BOB, muted=True)
    await client.post(f"{PATH}/back", token=BOB.token)
    assert await want_notices(pool, ADA) == 0
    await change(client, BOB, muted=False)
    assert await want_notices(pool, ADA) == 1


async def test_who_does_something_is_noted_once_a_day(client: HeldClient, pool: Pool) -> None:
    await seed(pool, ADA, [BOB.user_id, EVE.user_id])
    for person, ago in ((BOB, timedelta(days=400)), (EVE, timedelta(hours=5))):
        await pool.execute("UPDATE people SET active_at = now() - $2::interval WHERE user_id = $1", person.user_id, ago)
    before = await pool.fetchval("SELECT active_at FROM people WHERE user_id = $1", EVE.user_id)
    for person in (BOB, EVE):
        await client.get("/api/notifications/unread", token=person.token)
    fresh = "SELECT active_at > now() - interval '1 minute' FROM people WHERE user_id = $1"
    assert await pool.fetchval(fresh, BOB.user_id)
    assert await pool.fetchval("SELECT active_at FROM people WHERE user_id = $1", EVE.user_id) == before


async def be_away(pool: Pool, person: Person) -> None:
    await pool.execute("UPDATE people SET away_since = now() WHERE user_id = $1", person.user_id)
    await pool.execute("UPDATE follows SET is_silent = true WHERE follower_id = $1", person.user_id)
