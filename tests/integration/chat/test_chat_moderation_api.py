"""The moderation endpoints, each with a second user: what streamers, moderators and strangers may, and what is kept."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

import pytest
from redis.asyncio import Redis

from chat.__main__ import assemble
from chat.settings import ChatSettings
from chat.speaking.standing import PostgresStandings
from eventbus.bus_memory import MemoryBus
from events import TOPICS
from runtime.health import Health
from runtime.http_server import HttpServer
from runtime.ids import uuid7
from runtime.postgres import Pool, open_pool
from runtime.settings import HttpSettings, PostgresSettings
from runtime.supervise import supervise
from runtime.tokens import Caller, InvalidToken
from tests.contract.held_client import Answer, HeldClient, held_client
from tests.engines import Database
from tests.integration.chat.gateways import Person

Anything: TypeAlias = Any  # whatever the HTTP client takes


class NamesInTokens:
    """A Verifier whose tokens say plainly who they are of."""

    async def verify(self, token: str) -> Caller:
        user_id, _, name = token.partition("/")
        if not name:
            raise InvalidToken("it names nobody")
        return Caller(UUID(user_id), name)


@dataclass
class Place:
    """The API of a chat process that runs, and people: the room is ann's, bob moderates it, cat and dan do not."""

    client: HeldClient
    pool: Pool
    ann: Person
    bob: Person
    cat: Person
    dan: Person

    @property
    def path(self) -> str:
        return f"/api/chat/{self.ann.user_id}"

    async def ask(self, who: Person, method: str, path: str, **rest: Anything) -> Answer:
        return await self.client.request(method, self.path + path, token=f"{who.user_id}/{who.name}", **rest)

    async def refused(self, who: Person, method: str, path: str, problem: str, **rest: Anything) -> Answer:
        answer = await self.ask(who, method, path, **rest)
        assert (answer.status >= 400, answer.body["type"].rpartition(":")[2]) == (True, problem), answer
        return answer

    async def audited(self) -> list[tuple[str, str, str | None]]:
        """Who did what to whom, the oldest first."""
        items = (await self.ask(self.ann, "GET", "/audit")).body["items"]
        return [(item["actor_name"], item["action"], item["target_name"]) for item in reversed(items)]

    async def role(self, who: Person) -> str:
        return (await PostgresStandings(self.pool).find(self.ann.user_id, who.user_id)).role


@pytest.fixture
async def place(database: Database, redis_url: str) -> AsyncIterator[Place]:
    settings = ChatSettings.model_validate(
        {
            "postgres_dsn": database.dsn,
            "redis_url": redis_url,
            "kafka_bootstrap_servers": "unused:1",
            "jwks_url": "http://unused/jwks.json",
            "public_url": "http://edge.test",
            "http_port": 0,
        }
    )
    people = [Person(name) for name in ("ann", "bob", "cat", "dan")]
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(PostgresSettings(postgres_dsn=database.dsn), schema="chat"))
        await pool.executemany(
            "INSERT INTO people (user_id, username) VALUES ($1, $2)", [(one.user_id, one.name) for one in people]
        )
        await pool.execute(
            "INSERT INTO rooms (channel_id, channel_name) VALUES ($1, $2)", people[0].user_id, people[0].name
        )
        redis = await stack.enter_async_context(Redis.from_url(redis_url))
        bus = MemoryBus({topic.name: topic.partitions for topic in TOPICS})
        process = await assemble(stack, settings, bus, redis, NamesInTokens(), Health())
        running = asyncio.create_task(supervise(list(process.services), stop_grace_seconds=4))
        server = HttpServer(process.apis, settings=HttpSettings(), verifier=NamesInTokens())
        client = await stack.enter_async_context(held_client(server, process.apis))
        made = Place(client, pool, *people)
        assert (await made.ask(made.ann, "PUT", f"/moderators/{made.bob.user_id}")).status == 204
        yield made
        running.cancel()
        await asyncio.wait([running])


MODERATORS_ONLY: Sequence[tuple[str, str, dict[str, Any]]] = [
    ("GET", "/settings", {}),
    ("PATCH", "/settings", {"json": {"slow_seconds": 5}}),
    ("POST", "/followers-only", {}),
    ("GET", "/moderators", {}),
    ("GET", "/bans", {}),
    ("PUT", f"/bans/{uuid7()}", {"json": {"seconds": 10}}),
    ("DELETE", f"/bans/{uuid7()}", {}),
    ("DELETE", f"/messages/{uuid7()}", {}),
    ("POST", "/clear", {}),
    ("GET", "/blocked-terms", {}),
    ("POST", "/blocked-terms", {"json": {"term": "never"}}),
    ("DELETE", f"/blocked-terms/{uuid7()}", {}),
    ("GET", "/held", {}),
    ("POST", f"/held/{uuid7()}/approve", {}),
    ("POST", f"/held/{uuid7()}/deny", {}),
    ("GET", "/audit", {}),
]


async def test_strangers_may_nothing_and_leave_no_trace(place: Place) -> None:
    before = await place.audited()
    for method, path, rest in MODERATORS_ONLY:
        await place.refused(place.cat, method, path, "not-a-moderator", **rest)
        anonymous = await place.client.request(method, place.path + path, **rest)
        assert anonymous.status == 401, path
        elsewhere = await place.client.request(
            method, f"/api/chat/{uuid7()}{path}", token=f"{place.ann.user_id}/ann", **rest
        )
        assert elsewhere.problem == "room-not-found", path
    for method in ("PUT", "DELETE"):
        for who in (place.bob, place.cat):
            await place.refused(who, method, f"/moderators/{place.dan.user_id}", "not-the-streamer")
    assert await place.audited() == before


async def test_settings_change_in_part_and_say_what_is_wrong(place: Place) -> None:
    first = await place.ask(place.bob, "PATCH", "/settings", json={"slow_seconds": 30, "links": False})
    assert (first.body["slow_seconds"], first.body["links"], first.body["emote_only"]) == (30, False, False)
    second = await place.ask(place.ann, "PATCH", "/settings", json={"slow_seconds": 0, "log_days": 9})
    assert (second.body["slow_seconds"], second.body["links"], second.body["log_days"]) == (0, False, 9)
    assert (await place.ask(place.bob, "GET", "/settings")).body == second.body
    wrongs: list[tuple[dict[str, object], str]] = [
        ({"slow_seconds": 601}, "600"), ({"slow_second": 1}, "Extra"), ({"links": "no"}, "boolean"),
        ({"message_characters_max": 0}, "1"), ({"slow_seconds": None}, "integer"),
    ]  # fmt: skip
    for wrong, message in wrongs:
        refused = await place.refused(place.ann, "PATCH", "/settings", "validation-failed", json=wrong)
        assert refused.body["errors"][0]["field"] == f"body.{next(iter(wrong))}"
        assert message in refused.body["errors"][0]["message"]
    await place.refused(place.bob, "PATCH", "/settings", "not-the-streamer", json={"permanent_log": False})
    assert (await place.ask(place.ann, "GET", "/settings")).body == second.body
    items = (await place.ask(place.ann, "GET", "/audit", params={"limit": "1"})).body["items"]
    assert items[0]["particulars"] == {"slow_seconds": 0, "log_days": 9}


async def test_followers_only_is_one_click(place: Place) -> None:
    assert (await place.ask(place.bob, "POST", "/followers-only")).body["followers_only_minutes"] == 0
    on = await place.ask(place.bob, "POST", "/followers-only", json={"minutes": 10})
    assert on.body["followers_only_minutes"] == 10
    off = await place.ask(place.bob, "POST", "/followers-only", json={"minutes": None})
    assert off.body["followers_only_minutes"] is None


async def test_moderators_come_and_go(place: Place) -> None:
    await place.refused(place.ann, "PUT", f"/moderators/{place.ann.user_id}", "already-moderates")
    await place.ask(place.ann, "PUT", f"/bans/{place.cat.user_id}", json={"seconds": None})
    for _ in range(2):
        assert (await place.ask(place.ann, "PUT", f"/moderators/{place.cat.user_id}")).status == 204
    assert (await place.ask(place.ann, "GET", "/bans")).body["items"] == []
    listed = (await place.ask(place.bob, "GET", "/moderators")).body["items"]
    assert [one["username"] for one in listed] == ["bob", "cat"]
    page = (await place.ask(place.bob, "GET", "/moderators", params={"limit": "1"})).body
    more = await place.ask(place.bob, "GET", "/moderators", params={"limit": "1", "cursor": page["next_cursor"]})
    assert [one["username"] for one in page["items"] + more.body["items"]] == ["bob", "cat"]
    assert more.body["next_cursor"] is None
    assert await place.role(place.cat) == "moderator"
    assert (await place.ask(place.cat, "DELETE", f"/moderators/{place.cat.user_id}")).status == 204
    assert await place.role(place.cat) == "viewer"
    assert [row for row in await place.audited() if row[2] == "cat"] == [
        ("ann", "ban", "cat"), ("ann", "add-moderator", "cat"), ("cat", "remove-moderator", "cat"),
    ]  # fmt: skip


async def test_timeouts_and_bans_spare_those_above(place: Place) -> None:
    for target in (place.ann, place.bob):
        await place.refused(place.bob, "PUT", f"/bans/{target.user_id}", "not-to-be-moderated", json={"seconds": 5})
    await place.ask(place.ann, "PUT", f"/moderators/{place.dan.user_id}")
    await place.refused(place.bob, "PUT", f"/bans/{place.dan.user_id}", "not-to-be-moderated", json={"seconds": None})
    assert (await place.ask(place.ann, "PUT", f"/bans/{place.dan.user_id}", json={"seconds": 5})).status == 200
    await place.refused(place.ann, "PUT", f"/bans/{place.ann.user_id}", "not-to-be-moderated", json={"seconds": 5})


async def test_the_newest_decision_about_somebody_counts(place: Place) -> None:
    path = f"/bans/{place.cat.user_id}"
    wrongs: list[dict[str, object]] = [
        {"seconds": 0},
        {"seconds": 14 * 86_400 + 1},
        {},
        {"seconds": 1, "reason": "a\u0000b"},
    ]
    for wrong in wrongs:
        await place.refused(place.bob, "PUT", path, "validation-failed", json=wrong)
    timeout = await place.ask(place.bob, "PUT", path, json={"seconds": 14 * 86_400, "reason": " spam "})
    assert timeout.body["until"] is not None
    ban = await place.ask(place.bob, "PUT", path, json={"seconds": None})
    assert ban.body["until"] is None
    (listed,) = (await place.ask(place.ann, "GET", "/bans")).body["items"]
    assert (listed["username"], listed["until"], listed["banned_by_name"]) == ("cat", None, "bob")
    standings = PostgresStandings(place.pool)
    assert (await standings.find(place.ann.user_id, place.cat.user_id)).banned
    for _ in range(2):
        assert (await place.ask(place.bob, "DELETE", path)).status == 204
    assert (await standings.find(place.ann.user_id, place.cat.user_id)).banned_until is None
    newest = (await place.ask(place.ann, "GET", "/audit")).body["items"]
    assert [(one["action"], one["reason"], one["particulars"]) for one in newest[:3]] == [
        ("unban", None, {}), ("ban", None, {}), ("timeout", "spam", {"seconds": 14 * 86_400}),
    ]  # fmt: skip


async def test_people_whom_chat_never_heard_of_can_be_silenced(place: Place) -> None:
    stranger = uuid7()
    assert (await place.ask(place.bob, "PUT", f"/bans/{stranger}", json={"seconds": 60})).status == 200
    (listed,) = (await place.ask(place.bob, "GET", "/bans")).body["items"]
    assert (listed["user_id"], listed["username"]) == (str(stranger), None)


async def test_terms_are_listed_as_they_are_compared(place: Place) -> None:
    added = await place.ask(place.bob, "POST", "/blocked-terms", json={"term": " NÉver  "})
    assert (added.status, added.body["term"], added.body["hold"]) == (201, "NÉver", False)
    again = await place.ask(place.bob, "POST", "/blocked-terms", json={"term": "never", "hold": True})
    assert (again.body["term_id"], again.body["hold"]) == (added.body["term_id"], True)
    await place.ask(place.ann, "POST", "/blocked-terms", json={"term": "*ever*"})
    await place.refused(place.bob, "POST", "/blocked-terms", "validation-failed", json={"term": "a*b"})
    page = (await place.ask(place.bob, "GET", "/blocked-terms", params={"limit": "1"})).body
    rest = await place.ask(place.bob, "GET", "/blocked-terms", params={"cursor": page["next_cursor"]})
    assert {one["term"] for one in page["items"] + rest.body["items"]} == {"never", "*ever*"}
    for strange in ("\ud800", "a\u0000"):
        cursor = base64.urlsafe_b64encode(json.dumps([strange]).encode()).decode()
        await place.refused(place.bob, "GET", "/blocked-terms", "invalid-cursor", params={"cursor": cursor})
    path = f"/blocked-terms/{added.body['term_id']}"
    assert (await place.ask(place.bob, "DELETE", path)).status == 204
    await place.refused(place.bob, "DELETE", path, "blocked-term-not-found")


async def test_a_room_has_only_so_many_terms(place: Place) -> None:
    await place.pool.execute(
        "INSERT INTO blocked_terms (term_id, channel_id, term, folded, hold, added_by)"
        " SELECT gen_random_uuid(), $1, 'Term ' || n, 'term ' || n, false, $1 FROM generate_series(1, 500) n",
        place.ann.user_id,
    )
    await place.refused(place.bob, "POST", "/blocked-terms", "too-many-blocked-terms", json={"term": "more"})
    assert (await place.ask(place.bob, "POST", "/blocked-terms", json={"term": "term 7", "hold": True})).status == 201


async def test_the_record_goes_back_page_by_page(place: Place) -> None:
    for seconds in range(1, 6):
        await place.ask(place.bob, "PUT", f"/bans/{place.cat.user_id}", json={"seconds": seconds})
    seen: list[int] = []
    cursor: str | None = None
    while True:
        params = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await place.ask(place.ann, "GET", "/audit", params=params)).body
        seen += [item["particulars"]["seconds"] for item in page["items"] if item["action"] == "timeout"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [5, 4, 3, 2, 1]
