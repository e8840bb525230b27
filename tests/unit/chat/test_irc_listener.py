"""The IRC door over real sockets, with the memory broker behind it: TLS, silence, pace, slow clients, refusals."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from chat.brokers.broker import Conditions, Retention
from chat.brokers.broker_memory import MemoryBroker, MemoryServer
from chat.irc.client import Client
from chat.irc.connection import IrcParts
from chat.irc.door import IrcDoor
from chat.irc.encoding import Encodings
from chat.irc.joined import Joined, JoinParts
from chat.irc.listener import IrcListener
from chat.irc.login import Doorkeeper, FailedLogins
from chat.irc.passwords import PasswordOwner
from chat.irc.revocation import Revocation
from chat.irc.talking import Talking
from chat.rooms.directory import Directory
from chat.rooms.facts import RoomFacts
from chat.rooms.room import RoomLimits
from chat.rooms.rooms import Rooms
from chat.settings import ChatSettings
from chat.sockets.admission import Admission
from chat.sockets.frames import ErrorCode
from chat.speaking.composing import EntryComposer
from chat.speaking.speaking import Refused, Saying, Speaking
from chat.speaking.standing import OwnersAlone, Standing
from runtime.client_address import ClientAddresses
from runtime.service import CannotServe
from runtime.tokens import Caller, InvalidToken
from runtime.websockets import AllowedOrigins
from tests.free_ports import free_port
from tests.integration.chat.gateways import eventually
from tests.integration.chat.irc_clients import PlainClient

ROOM = uuid4()
ANN, BOB = Caller(ROOM, "ann"), Caller(uuid4(), "bob")
PASSWORD, PASSWORD_ID = "ab" * 32, uuid4()


class Tokens:
    """Knows two people by their names."""

    async def verify(self, token: str) -> Caller:
        for caller in (ANN, BOB):
            if token == caller.name:
                return caller
        raise InvalidToken("it is not a JWT")


class Passwords:
    """Has one password, until it is deleted."""

    def __init__(self) -> None:
        self.left = {PASSWORD_ID}

    async def owner_of(self, text: str) -> PasswordOwner | None:
        return PasswordOwner(PASSWORD_ID, BOB) if text == PASSWORD and self.left else None

    async def left_of(self, password_ids: object) -> set[UUID]:
        return self.left


class NoCommands:
    """Everything is a message."""

    def read(self, text: str) -> tuple[str | None, str]:
        return None, text

    async def run(self, client: Client, joined: Joined, name: str, rest: str) -> None:
        raise AssertionError(name)


class Whims:
    """Refuses what is an error code, with that code."""

    async def admit(self, facts: RoomFacts, speaker: Caller, standing: Standing, saying: Saying) -> Conditions:
        if saying.text.startswith("refuse "):
            raise Refused(cast("ErrorCode", saying.text.removeprefix("refuse ")), "no", 3.2)
        return Conditions()


async def find(room_id: UUID) -> RoomFacts | None:
    return RoomFacts(ROOM, "ann", None) if room_id == ROOM else None


async def find_versions(room_ids: Sequence[UUID]) -> Mapping[UUID, int]:
    return dict.fromkeys(room_ids, 0)


async def find_by_name(name: str) -> UUID | None:
    return ROOM if name == "ann" else None


class Site:
    def __init__(self, settings: ChatSettings, door: IrcDoor, passwords: Passwords, encodings: Encodings) -> None:
        assert settings.chat_irc_port is not None
        self.port = settings.chat_irc_port
        self.door = door
        self.passwords = passwords
        self.encodings = encodings
        self.clients: list[PlainClient] = []
        self.listening: asyncio.Task[None]

    async def connect(self, *hello: str, tls: ssl.SSLContext | None = None) -> PlainClient:
        """Connected as soon as the port is open, and has sent these lines."""
        async with asyncio.timeout(10):
            while True:
                try:
                    pair = await asyncio.open_connection("127.0.0.1", self.port, ssl=tls)
                    break
                except ConnectionRefusedError:
                    await asyncio.sleep(0.01)
        client = PlainClient(*pair)
        self.clients.append(client)
        client.send(*hello)
        return client

    async def joined(self, name: str, *capabilities: str) -> PlainClient:
        asks = [f"CAP REQ :{' '.join(capabilities)}"] if capabilities else []
        client = await self.connect(*asks, f"PASS {name}", "NICK x", "JOIN #ann")
        await client.sees(" 366 ")
        return client


@asynccontextmanager
async def site_of(*, may_fail: bool = False, **changes: object) -> AsyncIterator[Site]:
    given: dict[str, Any] = {
        "postgres_dsn": SecretStr("postgresql://unused"),
        "redis_url": SecretStr("redis://unused"),
        "kafka_bootstrap_servers": "unused:1",
        "jwks_url": "http://unused",
        "public_url": "http://here.test",
        "chat_tick_seconds": 0.02,
        "chat_drain_seconds": 0.1,
        "chat_irc_port": free_port(),
        **changes,
    }
    settings = ChatSettings(**given)
    broker = MemoryBroker(MemoryServer(Retention()))
    rooms = Rooms(broker, Directory(find, find_versions), RoomLimits(tick_seconds=settings.chat_tick_seconds))
    admission = Admission(
        origins=AllowedOrigins("http://here.test"),
        addresses=ClientAddresses(""),
        connections_max=settings.chat_connections_max,
        connections_per_address_max=settings.chat_connections_per_address_max,
        connections_per_user_max=settings.chat_connections_per_user_max,
    )
    passwords, encodings = Passwords(), Encodings()
    speaking = Speaking(broker, OwnersAlone(), Whims(), EntryComposer())
    doorkeeper = Doorkeeper(passwords, Tokens(), FailedLogins(asyncio.get_running_loop().time))
    join = JoinParts(find_by_name, rooms, speaking, encodings)
    door = IrcDoor(settings, IrcParts(doorkeeper, admission, join, Talking(speaking, NoCommands())))
    listener = IrcListener(settings, given["chat_irc_port"], door, admission)
    running = [asyncio.create_task(one.run()) for one in (rooms, listener, Revocation(door, passwords))]
    site = Site(settings, door, passwords, encodings)
    site.listening = running[1]
    try:
        yield site
        assert may_fail or not any(task.done() for task in running), running
    finally:
        for task in reversed(running):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        for client in site.clients:
            await client.leave()


async def test_lines_travel_in_tls_where_there_is_a_certificate(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-days", "1", "-subj", "/CN=here", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    await asyncio.to_thread(subprocess.run, [*command, *names, *files], check=True, capture_output=True)
    trusting = ssl.create_default_context(cafile=str(certificate))
    async with site_of(chat_irc_tls_certificate=certificate, chat_irc_tls_key=key) as site:
        client = await site.connect("NICK justinfan1", "JOIN #ann", tls=trusting)
        await client.sees(" 366 ")
        plain = await site.connect("NICK justinfan2")
        await plain.ends()
        assert not any("001" in line for line in plain.lines)


async def test_a_certificate_that_is_not_there_is_said_at_the_start(tmp_path: Path) -> None:
    async with site_of(chat_irc_tls_certificate=tmp_path / "none.pem", may_fail=True) as site:
        with pytest.raises(CannotServe, match="certificate"):
            await asyncio.wait_for(site.listening, 5)


async def test_a_silent_client_is_asked_and_then_dropped() -> None:
    async with site_of(chat_ping_seconds=1) as site:
        client, answers = await site.joined("ann"), await site.joined("bob")
        for asked in (client, answers):
            await asked.sees("PING :tmi.twitch.tv")
        answers.send("PONG :tmi.twitch.tv")
        await client.sees("ERROR :you did not answer a PING")
        await client.ends()
        await answers.answers()


async def test_who_does_not_log_in_in_time_is_dropped() -> None:
    async with site_of(chat_join_timeout_seconds=0.2) as site:
        client = await site.connect("NICK ann")
        await client.sees("ERROR :you did not log in in time")
        nameless = await site.connect("NICK ann", "USER a 0 * :a")
        await nameless.sees("Improperly formatted auth")
        await nameless.ends()


async def test_capabilities_change_how_the_next_message_is_written() -> None:
    async with site_of() as site:
        ann, bob = await site.joined("ann"), await site.joined("bob")
        ann.send("PRIVMSG #ann :one")
        await bob.sees(":ann!ann@ann.tmi.twitch.tv PRIVMSG #ann :one")
        bob.send("CAP REQ :twitch.tv/tags", "CAP REQ :nonsense")
        await bob.sees("CAP * NAK :nonsense")
        ann.send("PRIVMSG #ann :two")
        assert (await bob.sees("PRIVMSG #ann :two")).startswith("@badge-info=;badges=broadcaster/1;")
        assert len(site.encodings) == 2
        ann.send("QUIT")
        bob.send("PART #ann")
        await ann.ends()
        await bob.sees("PART #ann")
        assert len(site.encodings) == 0


@pytest.mark.parametrize(
    ("code", "msg_id"),
    [
        ("banned", "msg_banned"),
        ("slow-mode", "msg_slowmode"),
        ("followers-only", "msg_followersonly_zero"),
        ("said-before", "msg_r9k"),
        ("held", "msg_rejected"),
        ("bad-frame", "msg_rejected_mandatory"),
    ],
)
async def test_refusals_have_the_ids_that_bots_know(code: str, msg_id: str) -> None:
    async with site_of() as site:
        ann = await site.joined("ann", "twitch.tv/tags")
        ann.send(f"PRIVMSG #ann :refuse {code}")
        assert "in 3 seconds" in await ann.sees(f"@msg-id={msg_id} :tmi.twitch.tv NOTICE #ann :")


async def test_what_cannot_be_said_is_answered() -> None:
    async with site_of() as site:
        ann = await site.joined("ann", "twitch.tv/tags")
        ann.send("PRIVMSG #ann :" + "x" * 501)
        await ann.sees("At most 500 characters")
        ann.send("@reply-parent-msg-id=nonsense PRIVMSG #ann :x")
        await ann.sees("no id of a message")
        ann.send("PRIVMSG #bob :x")
        await ann.sees("msg_room_not_found")
        reader = await site.connect("NICK justinfan9", "JOIN #ann", "PRIVMSG #ann :x")
        await reader.sees("read only")


async def test_no_more_channels_are_joined_at_once_than_may_be() -> None:
    async with site_of() as site:
        client = await site.connect("PASS ann", "NICK x", "JOIN " + ",".join(f"#c{n}" for n in range(20)), "JOIN #d")
        await client.sees("NOTICE #d :You join too many channels at once")


async def test_connections_of_one_account_and_of_one_address_are_bounded() -> None:
    async with site_of(chat_connections_per_user_max=1, chat_connections_per_address_max=2) as site:
        await site.joined("ann")
        second = await site.connect("PASS ann", "NICK x")
        await second.sees("ERROR :this account has as many connections as it may")
        await second.ends()
        await second.leave()
        await eventually(lambda: len(site.door.connections) == 1)
        await site.joined("bob")
        third = await site.connect("NICK justinfan1")
        await third.sees("ERROR :Too many connections from this address")


async def test_a_deleted_password_ends_what_came_in_by_it() -> None:
    async with site_of() as site:
        by_password, by_token = await site.joined(f"oauth:{PASSWORD}"), await site.joined("ann")
        site.passwords.left.clear()
        await by_password.sees("ERROR :the password was deleted")
        await by_password.ends()
        await by_token.answers()


async def test_a_client_that_does_not_read_is_cut_and_costs_nobody_else_anything() -> None:
    async with site_of(
        chat_backlog_bytes_max=16_384, chat_send_buffer_bytes=4_608, chat_irc_lines_per_second_max=10_000
    ) as site:
        ann, bob = await site.joined("ann"), await site.joined("bob")
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port, limit=1_024)
        writer.write(b"NICK justinfan7\r\nJOIN #ann\r\n")
        await eventually(lambda: len(site.door.connections) == 3)
        sent = 0
        async with asyncio.timeout(30):
            while len(site.door.connections) == 3:
                ann.send(*(f"PRIVMSG #ann :{number} {'x' * 490}" for number in range(sent, sent + 100)))
                sent += 100
                await bob.sees(f"PRIVMSG #ann :{sent - 1} ")
        assert [line.split()[3] for line in bob.lines if "PRIVMSG" in line] == [f":{n}" for n in range(sent)]
        writer.close()
        del reader
