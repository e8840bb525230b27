"""Follows with what is wanted of each, lists both ways, exact counts, and blocks; each route with a second user."""

from typing import Any

import pytest

from notify import store
from runtime.ids import uuid7
from runtime.postgres import Pool
from tests.contract.held_client import HeldClient
from tests.integration.notify.conftest import BLOCKS_MAX
from tests.integration.notify.processes import Person

ADA, BOB, EVE = Person("ada"), Person("bob"), Person("eve")
AS_IN_PREFERENCES = {"inbox": None, "webpush": None, "email": None, "recordings": None, "categories": None}


@pytest.fixture(autouse=True)
async def everybody_is_known(pool: Pool) -> None:
    for person in (ADA, BOB, EVE):
        await store.keep_person(pool, person.user_id, person.name)


async def follow(client: HeldClient, follower: Person, channel: Person) -> None:
    answer = await client.put(f"/api/users/{channel.user_id}/followers/me", token=follower.token)
    assert answer.status == 204, answer.body


async def followers(client: HeldClient, channel: Person, seen_by: Person | None = None) -> dict[str, Any]:
    token = seen_by.token if seen_by else None
    body: dict[str, Any] = (await client.get(f"/api/users/{channel.user_id}/followers", token=token)).body
    return body


async def events(pool: Pool) -> list[str]:
    rows = await pool.fetch(
        "SELECT type, convert_from(data, 'UTF8')::jsonb ->> 'follower_id' AS who FROM outbox ORDER BY id"
    )
    names = {str(person.user_id): person.name for person in (ADA, BOB, EVE)}
    return [f"{row['type']} {names[row['who']]}" for row in rows]


async def test_counts_are_exact_and_who_wants_notices_is_the_streamers_to_know(client: HeldClient) -> None:
    for person in (BOB, EVE):
        await follow(client, person, ADA)
    await client.request("PATCH", f"/api/follows/{ADA.user_id}", token=EVE.token, json={"muted": True})
    own, bobs, public = (
        await followers(client, ADA, ADA),
        await followers(client, ADA, BOB),
        await followers(client, ADA),
    )
    assert (own["followers"], own["want_notices"]) == (2, 1)
    assert (bobs["followers"], bobs["want_notices"]) == (public["followers"], public["want_notices"]) == (2, None)
    await client.request("PATCH", f"/api/follows/{ADA.user_id}", token=EVE.token, json={"muted": False})
    await client.delete(f"/api/users/{ADA.user_id}/followers/me", token=BOB.token)
    own = await followers(client, ADA, ADA)
    assert (own["followers"], own["want_notices"]) == (1, 1)


async def test_following_and_unfollowing_is_said_once_each(client: HeldClient, pool: Pool) -> None:
    for _ in range(2):
        await follow(client, BOB, ADA)
    for _ in range(2):
        await client.delete(f"/api/users/{ADA.user_id}/followers/me", token=BOB.token)
    assert (await client.put(f"/api/users/{uuid7()}/followers/me", token=BOB.token)).problem == "user-not-found"
    assert await events(pool) == ["follow.created bob", "follow.deleted bob"]


async def test_whom_one_follows_is_listed_newest_first_by_a_cursor_and_is_ones_own(client: HeldClient) -> None:
    for channel in (ADA, EVE):
        await follow(client, BOB, channel)
    await follow(client, EVE, ADA)
    first = (await client.get("/api/follows?limit=1", token=BOB.token)).body
    rest = (await client.get(f"/api/follows?limit=1&cursor={first['next_cursor']}", token=BOB.token)).body
    assert [item["username"] for item in first["items"] + rest["items"]] == ["eve", "ada"]
    assert (first["following"], rest["next_cursor"]) == (2, None)
    assert (await client.get("/api/follows", token=ADA.token)).body["following"] == 0
    assert (await client.get("/api/follows")).status == 401
    assert (await client.get("/api/follows?cursor=bm9uZQ", token=BOB.token)).problem == "invalid-cursor"


async def test_what_one_wants_of_a_channel_is_kept_and_changes_field_by_field(client: HeldClient) -> None:
    await follow(client, BOB, ADA)
    await follow(client, EVE, ADA)
    path = f"/api/follows/{ADA.user_id}"
    shown = (await client.get(path, token=BOB.token)).body
    assert {**shown, **AS_IN_PREFERENCES, "muted": False, "username": "ada"} == shown
    wanted = {"categories": ["Chess", "Go"], "recordings": True, "email": False}
    sent = {**wanted, "categories": [" Chess", "Go", "Chess"]}
    changed = await client.request("PATCH", path, token=BOB.token, json=sent)
    assert (changed.status, changed.body) == (200, {**shown, **wanted})
    changed = await client.request("PATCH", path, token=BOB.token, json={"recordings": None})
    assert changed.body == {**shown, **wanted, "recordings": None} == (await client.get(path, token=BOB.token)).body
    eves = (await client.get(path, token=EVE.token)).body
    assert {**eves, **AS_IN_PREFERENCES} == eves


async def test_who_does_not_follow_has_nothing_to_change(client: HeldClient) -> None:
    await follow(client, BOB, ADA)
    path = f"/api/follows/{ADA.user_id}"
    assert (await client.get(path, token=EVE.token)).problem == "not-following"
    assert (await client.request("PATCH", path, token=EVE.token, json={"muted": True})).problem == "not-following"
    assert (await client.request("PATCH", path, json={"muted": True})).status == 401


async def test_what_cannot_be_wanted_is_refused_by_its_field(client: HeldClient) -> None:
    bodies: list[dict[str, object]] = [
        {"muted": None},
        {"categories": []},
        {"categories": ["x"] * 21},
        {"categories": ["x" * 51]},
        {"categories": ["  "]},
        {"categories": ["a\0b"]},
        {"inbox": "perhaps"},
        {"is_silent": True},
    ]
    for body in bodies:
        answer = await client.request("PATCH", f"/api/follows/{ADA.user_id}", token=BOB.token, json=body)
        assert (answer.status, answer.problem) == (422, "validation-failed"), body
        assert answer.body["errors"][0]["field"].startswith("body"), body


async def test_a_block_ends_the_follow_and_refuses_another_until_it_is_lifted(client: HeldClient, pool: Pool) -> None:
    await follow(client, BOB, ADA)
    await follow(client, BOB, EVE)
    path = f"/api/users/me/blocks/{BOB.user_id}"
    for _ in range(2):
        assert (await client.put(path, token=ADA.token)).status == 204
    assert (await followers(client, ADA, ADA))["followers"] == 0
    refused = await client.put(f"/api/users/{ADA.user_id}/followers/me", token=BOB.token)
    assert (refused.status, refused.problem) == (403, "blocked-by-channel")
    assert (await followers(client, EVE))["followers"] == 1
    assert await events(pool) == ["follow.created bob", "follow.created bob", "follow.deleted bob"]
    for _ in range(2):
        assert (await client.delete(path, token=ADA.token)).status == 204
    assert (await followers(client, ADA, ADA))["followers"] == 0
    await follow(client, BOB, ADA)


async def test_blocks_are_listed_to_their_owner_alone_and_lifted_by_nobody_else(client: HeldClient) -> None:
    for person in (BOB, EVE):
        await client.put(f"/api/users/me/blocks/{person.user_id}", token=ADA.token)
    first = (await client.get("/api/users/me/blocks?limit=1", token=ADA.token)).body
    rest = (await client.get(f"/api/users/me/blocks?limit=1&cursor={first['next_cursor']}", token=ADA.token)).body
    assert [item["username"] for item in first["items"] + rest["items"]] == ["eve", "bob"]
    assert (await client.get("/api/users/me/blocks", token=BOB.token)).body["items"] == []
    assert (await client.delete(f"/api/users/me/blocks/{BOB.user_id}", token=BOB.token)).status == 204
    assert (await client.put(f"/api/users/{ADA.user_id}/followers/me", token=BOB.token)).status == 403
    for method in ("PUT", "DELETE"):
        assert (await client.request(method, f"/api/users/me/blocks/{BOB.user_id}")).status == 401
    assert (await client.get("/api/users/me/blocks")).status == 401


async def test_blocks_have_their_limits(client: HeldClient, pool: Pool) -> None:
    people = [Person(f"p{n}") for n in range(BLOCKS_MAX + 1)]
    for person in people:
        await store.keep_person(pool, person.user_id, person.name)
    answers = [await client.put(f"/api/users/me/blocks/{person.user_id}", token=ADA.token) for person in people]
    assert [answer.status for answer in answers] == [204] * BLOCKS_MAX + [409]
    assert (answers[-1].problem, answers[-1].body["blocks_max"]) == ("too-many-blocks", BLOCKS_MAX)
    assert (await client.put(f"/api/users/me/blocks/{ADA.user_id}", token=ADA.token)).problem == "blocks-themselves"
    assert (await client.put(f"/api/users/me/blocks/{uuid7()}", token=ADA.token)).problem == "user-not-found"
