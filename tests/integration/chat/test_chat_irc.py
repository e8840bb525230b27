"""IRC against a real gateway: a plain dialog over TCP, tmi.js over WebSocket, irssi in a terminal."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from runtime.postgres import connect
from tests import engines
from tests.free_ports import free_port
from tests.integration.chat.gateways import Accounts, Gateway, Person, Site, chat_environment, eventually
from tests.integration.chat.irc_clients import Bot, Irssi, PlainClient

ALL_CAPABILITIES = "CAP REQ :twitch.tv/tags twitch.tv/commands twitch.tv/membership"


@dataclass
class IrcSite:
    """One gateway with an IRC port, and people with passwords."""

    site: Site
    gateway: Gateway
    port: int
    database: engines.Database
    clients: list[PlainClient] = field(default_factory=list)

    async def connect(self, *hello: str) -> PlainClient:
        """A plain client that has sent these lines."""
        client = await PlainClient.connect(self.port)
        self.clients.append(client)
        client.send(*hello)
        return client

    async def logged_in(self, *hello: str) -> PlainClient:
        """A plain client that is let in after these lines."""
        client = await self.connect(*hello)
        await client.sees(" 376 ")
        return client

    async def person(self, name: str) -> Person:
        """Somebody with an account and a channel."""
        person = Person(name)
        connection = await connect(self.database.dsn, schema="chat")
        await connection.execute("INSERT INTO people (user_id, username) VALUES ($1, $2)", person.user_id, name)
        await connection.execute("INSERT INTO rooms (channel_id, channel_name) VALUES ($1, $2)", person.user_id, name)
        await connection.close()
        return person

    async def api(self, method: str, path: str, person: Person, body: object = None) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.site.accounts.token(person)}"}
        url = f"{self.gateway.url}/api/chat/{path}"
        async with self.site.session.request(method, url, json=body, headers=headers) as answer:
            return answer.status, await answer.json() if answer.status != 204 else None

    async def password(self, person: Person, name: str = "bot") -> str:
        status, body = await self.api("POST", "irc-passwords", person, {"name": name})
        assert status == 201, body
        return f"oauth:{body['password']}"

    async def plain(self, person: Person, *, capabilities: str = ALL_CAPABILITIES) -> PlainClient:
        """A plain client that is logged in."""
        hello = [f"PASS {await self.password(person)}", f"NICK {person.name}"]
        return await self.logged_in(*([capabilities] if capabilities else []), *hello)


@pytest.fixture
async def irc(
    chat_variables: tuple[dict[str, str], Accounts], redis_url: str, tmp_path: Path, database: engines.Database
) -> AsyncIterator[IrcSite]:
    variables, accounts = chat_variables
    port = free_port()
    environment = chat_environment(
        variables,
        LIVESTREAM_REDIS_URL=redis_url,
        LIVESTREAM_CHAT_IRC_PORT=str(port),
        LIVESTREAM_CHAT_DRAIN_SECONDS="0.3",
    )
    site = Site(environment, accounts, tmp_path)
    try:
        made = IrcSite(site, await site.start(), port, database)
        yield made
        for client in made.clients:
            await client.leave()
    finally:
        await site.close()


async def test_plain_clients_over_tcp(irc: IrcSite) -> None:
    ann, bob, cid = [await irc.person(name) for name in ("ann", "bob", "cid")]
    await _people_talk(irc, ann, bob)
    await _what_is_wrong_is_answered(irc)
    await _a_deleted_channel_is_left_by_everybody(irc, bob, ann)
    await _passwords_are_their_owners_and_end_what_came_in_by_them(irc, cid, bob)
    await _whoever_guesses_has_to_wait(irc, ann)


async def _people_talk(irc: IrcSite, ann: Person, bob: Person) -> None:
    one, other = await irc.plain(ann), await irc.plain(bob, capabilities="")
    await one.sees("GLOBALUSERSTATE")
    one.send("JOIN #ann,#nobody")
    other.send("JOIN #Ann")
    await one.sees(":tmi.twitch.tv NOTICE #nobody :This channel does not exist.")
    state = await one.sees(" ROOMSTATE #ann")
    assert state.startswith("@emote-only=0;followers-only=-1;r9k=0;slow=0;subs-only=0;room-id=")
    assert "badges=broadcaster/1" in await one.sees(" USERSTATE #ann")
    await other.sees(":bob!bob@bob.tmi.twitch.tv JOIN #ann")
    one.send("PRIVMSG #ann :hello from ann")
    assert await other.sees("hello") == ":ann!ann@ann.tmi.twitch.tv PRIVMSG #ann :hello from ann"
    other.send("PRIVMSG #ann :\x01ACTION waves\x01")
    waved = await one.sees("ACTION waves")
    assert waved.endswith(":bob!bob@bob.tmi.twitch.tv PRIVMSG #ann :\x01ACTION waves\x01")
    assert f"user-id={bob.user_id}" in waved and f"room-id={ann.user_id}" in waved
    tags = dict(pair.split("=", 1) for pair in waved[1 : waved.index(" ")].split(";"))
    one.send(f"@reply-parent-msg-id={tags['id']} PRIVMSG #ann :hi bob")
    await other.sees("hi bob")
    # Neither heard itself, and another client of the same person heard it.
    await one.answers()
    assert not [line for line in one.lines if "hello from ann" in line or "hi bob" in line]
    third = await irc.plain(ann)
    third.send("JOIN #ann")
    await third.sees(" 366 ")
    one.send("PRIVMSG #ann :from my other client")
    await third.sees("from my other client")
    one.send("PART #ann", "QUIT")
    await one.sees("PART #ann")
    await one.ends()


async def _a_deleted_channel_is_left_by_everybody(irc: IrcSite, gone: Person, other: Person) -> None:
    client = await irc.plain(other)
    client.send(f"JOIN #{gone.name},#{other.name}")
    await client.sees(f" ROOMSTATE #{other.name}")
    connection = await connect(irc.database.dsn, schema="chat")
    # No signal, and no version that differs: the row is gone when the gateway compares.
    await connection.execute("DELETE FROM rooms WHERE channel_id = $1", gone.user_id)
    await connection.close()
    await client.sees(f"PART #{gone.name}")
    assert [line for line in client.lines if f"#{gone.name}" in line][-3:] == [
        f":tmi.twitch.tv CLEARCHAT #{gone.name}",
        f"@msg-id=msg_channel_suspended :tmi.twitch.tv NOTICE #{gone.name} :This channel was deleted.",
        f":{other.name}!{other.name}@{other.name}.tmi.twitch.tv PART #{gone.name}",
    ]
    client.send(f"PRIVMSG #{gone.name} :anybody here?")
    await client.sees("Join the channel first.")
    client.send(f"PART #{other.name}")
    await client.sees(f"PART #{other.name}")


async def _what_is_wrong_is_answered(irc: IrcSite) -> None:
    reader = await irc.logged_in("NICK justinfan123")
    reader.send("PRIVMSG #ann :hi", "HOHO", "JOIN", "\x00\x01", "@a=b", "PING x")
    await reader.sees("PONG tmi.twitch.tv :x")
    await reader.sees("421 justinfan123 HOHO")
    await reader.sees("461 justinfan123 JOIN")
    long = await irc.logged_in("NICK justinfan124")
    long.send_raw(b"PRIVMSG #ann :" + b"x" * 50_000 + b"\r\n")
    await long.sees("NOTICE * :Not taken: the line is too long.")
    long.send(*["PING y"] * 2_000)
    await long.sees("ERROR :too many lines in too short a time")
    await long.ends()


async def _whoever_guesses_has_to_wait(irc: IrcSite, ann: Person) -> None:
    for _ in range(20):
        guesser = await irc.connect("PASS oauth:" + "0" * 64, "NICK ann")
        await guesser.sees("NOTICE * :Login authentication failed")
        await guesser.ends()
    guesser = await irc.connect(f"PASS {await irc.password(ann)}", "NICK ann")
    await guesser.sees("too many failed logins")


async def _passwords_are_their_owners_and_end_what_came_in_by_them(irc: IrcSite, ann: Person, bob: Person) -> None:
    status, made = await irc.api("POST", "irc-passwords", ann, {"name": "my bot"})
    assert status == 201
    client = await irc.logged_in(f"PASS oauth:{made['password'].upper()}", "NICK x", "USER x 0 * :x")
    token = await irc.logged_in(f"PASS oauth:{irc.site.accounts.token(ann)}", "NICK x")
    _, listed = await irc.api("GET", "irc-passwords", ann)
    assert [(one["name"], one["last_used_at"] is None) for one in listed["items"]] == [("my bot", False)]
    assert "password" not in listed["items"][0]
    path = f"irc-passwords/{made['password_id']}"
    assert (await irc.api("DELETE", path, bob))[0] == 404
    assert made["password_id"] not in str((await irc.api("GET", "irc-passwords", bob))[1])
    assert (await irc.api("DELETE", path, ann))[0] == 204
    await client.sees("ERROR :the password was deleted")
    await client.ends()
    await token.answers()
    for number in range(10):
        assert (await irc.api("POST", "irc-passwords", ann, {"name": f"b{number}"}))[0] == 201
    assert (await irc.api("POST", "irc-passwords", ann, {"name": "one more"}))[0] == 409
    page = (await irc.api("GET", "irc-passwords?limit=4", ann))[1]
    rest = (await irc.api("GET", f"irc-passwords?limit=40&cursor={page['next_cursor']}", ann))[1]
    assert [one["name"] for one in page["items"] + rest["items"]] == [f"b{number}" for number in reversed(range(10))]
    assert made["password"] not in irc.gateway.log.read_text()


async def test_tmi_js(irc: IrcSite) -> None:
    ann, bob = await irc.person("ann"), await irc.person("bob")
    await _a_bot_reads_writes_and_moderates(irc, ann, bob)
    await _a_bot_is_refused_what_others_may_not_do(irc, bob)
    await _pages_of_others_and_whoever_asks_for_no_irc_are_turned_away(irc)
    await _a_bot_comes_back_after_a_drain(irc, ann)


async def _a_bot_reads_writes_and_moderates(irc: IrcSite, ann: Person, bob: Person) -> None:
    bot, reader = await asyncio.gather(
        Bot.start(irc.gateway.port, "ann", await irc.password(ann)), Bot.start(irc.gateway.port, "ann")
    )
    await bot.hears("roomstate")
    await reader.hears("roomstate")
    web = irc.site.client(ann.user_id, bob)
    await web.join(irc.gateway)
    await web.say("1", "hello bot")
    channel, tags, text, own = await bot.hears("chat", lambda values: not values[3])
    assert (channel, text, own, tags["username"]) == ("#ann", "hello bot", False, "bob")
    assert (await bot.call("say", "ann", "hello all"))["value"]
    assert (await bot.call("action", "ann", "waves"))["value"]
    assert (await reader.hears("chat", lambda values: values[2] == "hello all"))[1]["badges"] == {"broadcaster": "1"}
    assert (await reader.hears("action"))[2] == "waves"
    await eventually(lambda: web.seen == ["hello bot", "hello all", "waves"])
    assert (await bot.call("slow", "ann", 30))["value"] == ["#ann", 30]
    assert await reader.hears("slowmode", lambda values: values[1] is True)
    assert (await bot.call("slow", "ann", 30))["value"] == ["#ann", 30]
    assert (await bot.call("slowoff", "ann"))["value"]
    assert (await bot.call("followersonly", "ann", 60))["value"] == ["#ann", 60]
    assert (await bot.call("followersonlyoff", "ann"))["value"]
    for mode in ("emoteonly", "subscribers", "r9kbeta"):
        assert (await bot.call(mode, "ann"))["value"] == ["#ann"]
        assert (await bot.call(mode, "ann"))["refusal"].startswith("already_")
        assert (await bot.call(f"{mode}off", "ann"))["value"] == ["#ann"]
    assert (await bot.call("deletemessage", "ann", tags["id"]))["value"] == ["#ann"]
    assert (await reader.hears("messagedeleted"))[1] == "bob"
    assert (await bot.call("timeout", "ann", "bob", 60, "too loud"))["value"] == ["#ann", "bob", 60, "too loud"]
    assert (await reader.hears("timeout"))[1:4] == ["bob", None, 60]
    assert (await bot.call("ban", "ann", "bob"))["value"]
    assert (await reader.hears("ban"))[1] == "bob"
    assert (await bot.call("unban", "ann", "bob"))["value"]
    assert (await bot.call("unban", "ann", "bob"))["refusal"] == "bad_unban_no_ban"
    assert (await bot.call("ban", "ann", "nobody"))["refusal"] == "invalid_user"
    assert (await bot.call("mod", "ann", "bob"))["value"] == ["#ann", "bob"]
    assert (await bot.call("mods", "ann"))["value"] == ["bob"]
    assert (await bot.call("unmod", "ann", "bob"))["value"] == ["#ann", "bob"]
    assert (await bot.call("clear", "ann"))["value"] == ["#ann"]
    assert await reader.hears("clearchat")
    assert (await bot.call("ping"))["value"]
    assert (await bot.call("part", "ann"))["value"]
    assert bot.complaints == [] and reader.complaints == []
    await asyncio.gather(bot.stop(), reader.stop(), web.leave())


async def _a_bot_is_refused_what_others_may_not_do(irc: IrcSite, bob: Person) -> None:
    bot = await Bot.start(irc.gateway.port, "ann", await irc.password(bob))
    await bot.hears("roomstate")
    tries: list[tuple[str, list[object]]] = [("slow", [5]), ("ban", ["ann"]), ("clear", []), ("mod", ["bob"])]
    for method, values in tries:
        assert "no_permission" in (await bot.call(method, "ann", *values))["refusal"]
    await bot.stop()


async def _a_bot_comes_back_after_a_drain(irc: IrcSite, ann: Person) -> None:
    password = await irc.password(ann)
    bot = await Bot.start(irc.gateway.port, "ann", password)
    await bot.hears("roomstate")
    plain = await irc.logged_in("NICK justinfan5")
    assert await irc.gateway.stop() == 0, irc.gateway.log.read_text()[-2_000:]
    await plain.sees("ERROR :this gateway is going away")
    await bot.hears("disconnected")
    irc.gateway = await irc.site.start(irc.gateway.port)
    await eventually(lambda: bot.count("connected") == 2 and bot.count("roomstate") == 2)
    await bot.stop()


async def _pages_of_others_and_whoever_asks_for_no_irc_are_turned_away(irc: IrcSite) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await irc.site.session.ws_connect(
            f"{irc.gateway.url}/chat/irc", protocols=["irc"], origin="https://elsewhere.example"
        )
    assert refused.value.status == 403
    async with irc.site.session.get(f"{irc.gateway.url}/") as answer:
        assert answer.status == 404


async def test_irssi_shows_a_message_both_ways(irc: IrcSite, tmp_path: Path) -> None:
    ann, bob = await irc.person("ann"), await irc.person("bob")
    irssi = await Irssi.start(tmp_path, irc.port, "ann", await irc.password(ann), "#bob")
    try:
        other = await irc.plain(bob)
        other.send("JOIN #bob")
        await other.sees(" 366 ")

        async def is_there() -> bool:
            other.send("NAMES #bob")
            await other.answers()
            return any(line.endswith(":bob ann") for line in other.lines)

        await eventually(is_there)
        irssi.type("/window goto #bob")
        await irssi.shows("[#bob]")
        irssi.type("hello from irssi")
        await other.sees(" PRIVMSG #bob :hello from irssi")
        other.send("PRIVMSG #bob :hello irssi")
        await irssi.shows("hello irssi")
        irssi.type("/me waves")
        await other.sees("PRIVMSG #bob :\x01ACTION waves\x01")
    finally:
        await irssi.stop()
