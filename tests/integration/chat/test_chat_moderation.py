"""What moderators do reaches everybody on all gateways within a second, and nobody gets a deleted message again."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias
from uuid import UUID

import aiohttp
import pytest

from runtime.postgres import Pool, open_pool
from runtime.settings import PostgresSettings
from tests import engines
from tests.integration.chat.gateways import (
    WAIT_SECONDS,
    Accounts,
    Client,
    Gateway,
    Person,
    Site,
    chat_environment,
    eventually,
)

EFFECT_SECONDS_MAX = 1.25
"""For most changes: two cores with other tests on them may be late with some. By themselves gateways find what a lost
signal would have said in twice that time on average, and sooner in a quarter of all cases.
"""
RAIDERS = 1_000
REGULARS = 20
STORM_SECONDS_MAX = 30.0

Anything: TypeAlias = Any  # whatever the HTTP client takes and gives


@pytest.fixture
async def pool(database: engines.Database) -> AsyncIterator[Pool]:
    async with open_pool(PostgresSettings(postgres_dsn=database.dsn), schema="chat") as opened:
        yield opened


class Moderator:
    """Somebody at the API of one gateway."""

    def __init__(self, site: Site, gateway: Gateway, who: Person, room: UUID) -> None:
        self._site = site
        self._token = site.accounts.token(who)
        self._url = f"{gateway.url}/api/chat/{room}"

    async def try_to(self, method: str, path: str) -> int:
        headers = {"Authorization": f"Bearer {self._token}"}
        async with self._site.session.request(method, self._url + path, headers=headers) as answer:
            return answer.status

    async def __call__(self, method: str, path: str, **rest: Anything) -> Anything:
        headers = {"Authorization": f"Bearer {self._token}"}
        async with self._site.session.request(method, self._url + path, headers=headers, **rest) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.json() if answer.status != 204 else None


class Scene:
    """A room with its streamer at one gateway, and clients at two."""

    def __init__(self, site: Site, streamer: Person, one: Gateway, other: Gateway) -> None:
        self.site = site
        self.room = streamer.user_id
        self.streamer = streamer
        self.one, self.other = one, other
        self.effects_seconds: list[float] = []
        """How long the changes took of which gateways are told by signals."""

    async def start(self) -> None:
        self.moderate = Moderator(self.site, self.one, self.streamer, self.room)
        self.troll, self.fan = Person("troll"), Person("fan")
        self.clients = [await self.join(person, self.other) for person in (self.troll, self.fan)]
        self.clients.append(await self.join(None, self.one))

    async def try_to(self, method: str, path: str) -> int:
        """The status of what a moderator tries."""
        return await self.moderate.try_to(method, path)

    async def join(self, person: Person | None, gateway: Gateway) -> Client:
        client = self.site.client(self.room, person)
        await client.join(gateway)
        return client

    async def everybody(self, condition: Callable[[Client], bool]) -> None:
        """Wait until it holds for every client."""
        await eventually(lambda: all(map(condition, self.clients)))

    async def takes_effect(self, condition: Callable[[], bool]) -> None:
        """Wait for what a signal brings about, and note how long that took."""
        begun = time.monotonic()
        await eventually(condition)
        self.effects_seconds.append(time.monotonic() - begun)

    async def rules_are_told(self, times: int) -> None:
        """Every client has been told of so many changes."""
        await self.takes_effect(lambda: all(client.kinds().count("rules") == times for client in self.clients))


def message_id(client: Client, text: str) -> str:
    for frame in client.frames:
        for message in frame.get("messages", []) + frame.get("history", []):
            if message.get("text") == text:
                return str(message["message_id"])
    raise AssertionError(text)


def last_kind(kind: str) -> Callable[[Client], bool]:
    return lambda client: client.seen[-1:] == [f"<{kind}>"]


@pytest.fixture
async def wide_site(
    chat_variables: tuple[dict[str, str], Accounts], redis_url: str, tmp_path: Path
) -> AsyncIterator[Site]:
    """Gateways that take a raid from one address."""
    variables, accounts = chat_variables
    changes = {"LIVESTREAM_REDIS_URL": redis_url, "LIVESTREAM_CHAT_CONNECTIONS_PER_ADDRESS_MAX": "5000"}
    made = Site(chat_environment(variables, **changes), accounts, tmp_path)
    await made.session.close()
    made.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    yield made
    await made.close()


async def test_what_moderators_do_reaches_everybody_and_stays(wide_site: Site, pool: Pool) -> None:
    """One pair of gateways for all of it, a room for each: most of the time goes into starting them."""
    one, other = await asyncio.gather(wide_site.start(), wide_site.start())
    scenes = [Scene(wide_site, Person(f"streamer{number}"), one, other) for number in range(4)]
    for scene in scenes:
        await pool.execute(
            "INSERT INTO rooms (channel_id, channel_name) VALUES ($1, $2)", scene.room, scene.streamer.name
        )
        await scene.start()
    await _deleted_is_gone_everywhere_and_never_comes_again(scenes[0])
    await _bans_rules_and_moderators_change_what_people_may_at_once(scenes[1])
    await _held_messages_come_when_a_moderator_lets_them(scenes[2])
    await _a_raid_of_a_thousand_fresh_accounts_is_kept_out(scenes[3], pool)
    effects_seconds = [seconds for scene in scenes for seconds in scene.effects_seconds]
    assert median(effects_seconds) < EFFECT_SECONDS_MAX, effects_seconds


async def _deleted_is_gone_everywhere_and_never_comes_again(scene: Scene) -> None:
    troll, fan, _ = scene.clients
    assert (await fan.say("1", "hello"))["type"] == "accepted"
    before = scene.site.client(scene.room, Person("leaves"))
    await before.join(scene.one)
    await before.leave()
    for number, text in enumerate(("secret one", "secret two")):
        await troll.say(str(number), text)
    await fan.say("2", "between")

    await scene.moderate("DELETE", f"/messages/{message_id(fan, 'secret one')}")
    await scene.everybody(last_kind("deleted"))
    await scene.moderate("PUT", f"/bans/{scene.troll.user_id}", json={"seconds": 600, "reason": "spam"})
    await scene.everybody(last_kind("cleared"))
    refused = await troll.say("3", "secret three")
    assert (refused["code"], refused["retry_after_seconds"] > 590) == ("timed-out", True)

    # Whoever comes back with a position, or comes fresh, on a gateway of before or a new one, gets tombstones.
    new = await scene.site.start()
    late = [await scene.join(None, gateway) for gateway in (scene.one, scene.other, new)]
    await before.join(new)
    for client in (*late, before):
        assert not [text for text in client.seen if "secret" in text], client.seen
        assert "between" in client.seen
        client.assert_no_silent_hole()
    assert before.recoveries == [True]
    history = await scene.moderate("GET", "/messages")
    assert not [item for item in history["items"] if "secret" in item["text"]]

    everybody = (*scene.clients, *late)
    cleared = [client.seen.count("<cleared>") for client in everybody]
    await scene.moderate("POST", "/clear")
    await eventually(lambda: [client.seen.count("<cleared>") - 1 for client in everybody] == cleared)
    assert set((await scene.join(None, new)).seen) <= {"<deleted>", "<cleared>"}
    assert (await fan.say("4", "a new start"))["type"] == "accepted"
    latest = await scene.join(None, new)
    await eventually(lambda: latest.seen[-1] == "a new start")


async def _bans_rules_and_moderators_change_what_people_may_at_once(scene: Scene) -> None:
    troll, fan, _ = scene.clients

    await scene.moderate("PUT", f"/bans/{scene.troll.user_id}", json={"seconds": None})
    await eventually(lambda: "standing" in troll.kinds())  # an entry tells of bans
    assert (await troll.say("1", "x"))["code"] == "banned"
    assert (await fan.say("1", "x"))["type"] == "accepted"
    await scene.moderate("DELETE", f"/bans/{scene.troll.user_id}")
    await scene.takes_effect(lambda: troll.kinds().count("standing") == 2)
    assert (await troll.say("2", "y"))["type"] == "accepted"

    await scene.moderate("PATCH", "/settings", json={"moderators_only": True, "links": False})
    await scene.rules_are_told(1)
    assert (await troll.say("3", "x"))["code"] == "moderators-only"
    await scene.moderate("PUT", f"/moderators/{scene.fan.user_id}")
    await scene.takes_effect(
        lambda: fan.gone or any(f["standing"]["role"] == "moderator" for f in fan.frames if f["type"] == "standing")
    )
    if fan.gone:
        await fan.join(scene.other)
    assert (await fan.say("3", "see http://x.com"))["type"] == "accepted"
    await scene.moderate("PATCH", "/settings", json={"moderators_only": False})
    await scene.rules_are_told(2)
    assert (await troll.say("4", "see http://x.com"))["code"] == "links-not-allowed"


async def _held_messages_come_when_a_moderator_lets_them(scene: Scene) -> None:
    troll, fan, _ = scene.clients
    boss = await scene.join(scene.streamer, scene.one)
    await scene.moderate("POST", "/blocked-terms", json={"term": "maybe", "hold": True})
    begun = time.monotonic()
    async with asyncio.timeout(WAIT_SECONDS):
        tries = 0
        while (await troll.say(f"try-{tries}", "maybe not"))["type"] == "accepted":
            tries += 1
    scene.effects_seconds.append(time.monotonic() - begun)
    for number in range(3):
        assert (await fan.say(f"h{number}", f"maybe {number}"))["code"] == "held"
    assert (await fan.say("h3", "maybe 3"))["code"] == "rate-limited"
    await scene.takes_effect(lambda: "held" in boss.kinds())
    assert "held" not in fan.kinds()
    waiting = (await scene.moderate("GET", "/held"))["items"]
    assert [(one["username"], one["text"], one["term"]) for one in waiting] == [
        ("troll", "maybe not", "maybe"), *[("fan", f"maybe {number}", "maybe") for number in range(3)],
    ]  # fmt: skip

    first, second = waiting[1]["held_id"], waiting[2]["held_id"]
    statuses = await asyncio.gather(*(scene.try_to("POST", f"/held/{first}/approve") for _ in range(5)))
    assert sorted(statuses) == [204, 404, 404, 404, 404]
    assert await scene.try_to("POST", f"/held/{second}/deny") == 204
    assert await scene.try_to("POST", f"/held/{second}/approve") == 404
    await scene.everybody(lambda client: "maybe 0" in client.seen)
    (entry,) = [m for frame in troll.frames for m in frame.get("messages", []) if m.get("text") == "maybe 0"]
    assert (entry["username"], entry["role"]) == ("fan", "viewer")
    assert (await fan.say("again", "maybe 4"))["code"] == "held"  # there is room for one more

    # Whoever is silenced has nothing waiting.
    await scene.moderate("PUT", f"/bans/{scene.fan.user_id}", json={"seconds": 60})
    assert [one["username"] for one in (await scene.moderate("GET", "/held"))["items"]] == ["troll"]
    await scene.everybody(last_kind("cleared"))
    assert all(client.seen.count("maybe 0") <= 1 and "maybe 1" not in client.seen for client in scene.clients)


async def _a_raid_of_a_thousand_fresh_accounts_is_kept_out(scene: Scene, pool: Pool) -> None:
    regulars = await _regulars(pool, scene.room)
    raid = Raid(scene, [Person(f"raider{number}") for number in range(RAIDERS)], regulars)
    await raid.come()
    await scene.moderate("PATCH", "/settings", json={"account_age_minutes": 60})
    await scene.rules_are_told(1)
    assert await raid.storm("age") == {"account-too-young"}

    await scene.moderate("PATCH", "/settings", json={"account_age_minutes": 0})
    await scene.rules_are_told(2)
    await scene.moderate("POST", "/followers-only")
    await scene.rules_are_told(3)
    assert await raid.storm("follow") == {"followers-only"}
    await raid.go()

    def seen() -> list[str]:
        return [text for text in scene.clients[2].seen if not text.startswith("<")]

    await eventually(lambda: len(seen()) >= 2 * REGULARS)
    assert sorted(seen()) == sorted(f"{wave} {one.name}" for wave in ("age", "follow") for one in regulars)


class Raid:
    """Fresh accounts and regulars at two gateways, who all send at once."""

    def __init__(self, scene: Scene, raiders: Sequence[Person], regulars: Sequence[Person]) -> None:
        self._scene = scene
        self._raiders = raiders
        self._regulars = regulars
        self._sockets: dict[Person, aiohttp.ClientWebSocketResponse] = {}

    async def come(self) -> None:
        """Everybody joins."""
        at_once = asyncio.Semaphore(50)

        async def join(person: Person, gateway: Gateway) -> None:
            async with at_once:
                ws = await self._scene.site.session.ws_connect(f"{gateway.url}/chat", compress=0)
                token = self._scene.site.accounts.token(person)
                await ws.send_json({"type": "join", "room": str(self._scene.room), "token": token})
                while (await ws.receive_json(timeout=WAIT_SECONDS))["type"] != "joined":
                    pass
                self._sockets[person] = ws

        gateways = (self._scene.one, self._scene.other)
        people = (*self._raiders, *self._regulars)
        await asyncio.gather(*(join(person, gateways[number % 2]) for number, person in enumerate(people)))

    async def storm(self, wave: str) -> set[str]:
        """Everybody sends; the codes with which raiders were refused. Regulars get through, and gateways answer."""

        async def send(person: Person) -> str:
            ws = self._sockets[person]
            await ws.send_json({"type": "send", "id": wave, "text": f"{wave} {person.name}"})
            while True:
                frame = await ws.receive_json(timeout=WAIT_SECONDS)
                if frame.get("id") == wave:
                    return str(frame.get("code", "accepted"))

        begun = time.monotonic()
        sending = asyncio.gather(*map(send, self._raiders), *map(send, self._regulars))
        slowest = 0.0
        while not sending.done():
            asked = time.monotonic()
            async with self._scene.site.session.get(f"{self._scene.one.url}/readyz") as answer:
                await answer.read()
            slowest = max(slowest, time.monotonic() - asked)
            await asyncio.sleep(0.05)
        codes = await sending
        assert time.monotonic() - begun < STORM_SECONDS_MAX
        assert slowest < STORM_SECONDS_MAX / 2
        assert set(codes[len(self._raiders) :]) == {"accepted"}
        return set(codes[: len(self._raiders)])

    async def go(self) -> None:
        """Everybody leaves."""
        await asyncio.gather(*(ws.close() for ws in self._sockets.values()))


async def _regulars(pool: Pool, room: UUID) -> list[Person]:
    """People who have had their accounts for long, and follow."""
    long_ago = datetime.now(UTC) - timedelta(days=300)
    people = [Person(f"regular{number}") for number in range(REGULARS)]
    await pool.executemany(
        "INSERT INTO people (user_id, username, registered_at) VALUES ($1, $2, $3)",
        [(one.user_id, one.name, long_ago) for one in people],
    )
    await pool.executemany(
        "INSERT INTO followers (channel_id, user_id, followed_at) VALUES ($1, $2, $3)",
        [(room, one.user_id, long_ago) for one in people],
    )
    return people
