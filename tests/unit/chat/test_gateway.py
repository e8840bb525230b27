"""The gateway over a real socket, with the memory broker behind it: what clients see for right and for wrong frames."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiohttp import ClientResponseError, ClientSession, ClientWebSocketResponse, WSMsgType, WSServerHandshakeError
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from chat import metrics
from chat.brokers.broker import Retention
from chat.brokers.broker_memory import MemoryBroker, MemoryServer
from chat.rooms.directory import Directory
from chat.rooms.facts import RoomFacts
from chat.rooms.room import RoomLimits
from chat.rooms.rooms import Rooms
from chat.settings import ChatSettings
from chat.sockets.admission import Admission
from chat.sockets.closecodes import CloseCode
from chat.sockets.frames import CLIENT_FRAMES, SERVER_FRAME
from chat.sockets.gateway import Gateway
from chat.speaking.composing import EntryComposer
from chat.speaking.gatekeeper import RulesGatekeeper
from chat.speaking.speaking import Speaking
from chat.speaking.standing import OwnersAlone, Standings
from runtime.client_address import ClientAddresses
from runtime.http_server import HttpServer
from runtime.tokens import Caller, InvalidToken
from runtime.websockets import AllowedOrigins
from tests.integration.chat.gateways import eventually

ROOM, STREAM = uuid4(), uuid4()
ANN, BOB = Caller(uuid4(), "ann"), Caller(uuid4(), "bob")


class Tokens:
    """Knows two people by their names."""

    async def verify(self, token: str) -> Caller:
        for caller in (ANN, BOB):
            if token == caller.name:
                return caller
        raise InvalidToken("it is not a JWT")


async def find(room_id: UUID) -> RoomFacts | None:
    return RoomFacts(ROOM, "ann", STREAM) if room_id == ROOM else None


async def find_versions(room_ids: Sequence[UUID]) -> Mapping[UUID, int]:
    return dict.fromkeys(room_ids, 0)


def settings(**changes: object) -> ChatSettings:
    given: dict[str, Any] = {
        "postgres_dsn": SecretStr("postgresql://unused"),
        "redis_url": SecretStr("redis://unused"),
        "kafka_bootstrap_servers": "unused:1",
        "jwks_url": "http://unused",
        "public_url": "http://here.test",
        "chat_tick_seconds": 0.02,
        "chat_drain_seconds": 0.1,
        **changes,
    }
    return ChatSettings(**given)


@dataclass
class Site:
    server: MemoryServer
    gateway: Gateway
    rooms: Rooms
    url: str
    session: ClientSession
    sockets: list[ClientWebSocketResponse] = field(default_factory=list)

    async def connect(self, origin: str | None = None, address: str | None = None) -> ClientWebSocketResponse:
        headers = {} if address is None else {"X-Forwarded-For": address}
        ws = await self.session.ws_connect(f"{self.url}/chat", compress=0, origin=origin, headers=headers)
        self.sockets.append(ws)  # one that is collected as garbage is closed by that
        return ws

    async def join(self, token: str | None = None, **fields: object) -> tuple[ClientWebSocketResponse, dict[str, Any]]:
        ws = await self.connect()
        frame: dict[str, object] = {"type": "join", "v": 1, "room": str(ROOM), "token": token}
        await ws.send_json(frame | fields)
        return ws, await read(ws, "joined")


@asynccontextmanager
async def site_of(
    server: MemoryServer | None = None, standings: Standings | None = None, **changes: object
) -> AsyncIterator[Site]:
    server = server or MemoryServer(Retention())
    chosen = settings(**changes)
    broker = MemoryBroker(server)
    rooms = Rooms(broker, Directory(find, find_versions), RoomLimits(tick_seconds=chosen.chat_tick_seconds))
    admission = Admission(
        origins=AllowedOrigins("http://here.test"),
        addresses=ClientAddresses("127.0.0.1"),
        connections_max=chosen.chat_connections_max,
        connections_per_address_max=chosen.chat_connections_per_address_max,
        connections_per_user_max=chosen.chat_connections_per_user_max,
    )
    gatekeeper = RulesGatekeeper(messages_per_minute=chosen.chat_messages_per_minute)
    speaking = Speaking(broker, standings or OwnersAlone(), gatekeeper, EntryComposer())
    gateway = Gateway(chosen, admission, rooms, speaking, Tokens())
    running = asyncio.create_task(rooms.run())
    application = await HttpServer([gateway], settings=chosen).application()
    async with TestServer(application) as served, ClientSession() as session:
        site = Site(server, gateway, rooms, str(served.make_url("")).rstrip("/"), session)
        yield site
        await asyncio.gather(*(ws.close() for ws in site.sockets))
    running.cancel()
    ended = await asyncio.gather(running, return_exceptions=True)
    assert isinstance(ended[0], asyncio.CancelledError), ended


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with site_of() as made:
        yield made


async def read(ws: ClientWebSocketResponse, kind: str) -> dict[str, Any]:
    """The next frame of a kind; those before it are passed over. Every frame must fit its model."""
    while True:
        received = await ws.receive(timeout=30)
        assert received.type is WSMsgType.TEXT, received
        SERVER_FRAME.validate_json(received.data)
        frame: dict[str, Any] = json.loads(received.data)
        if frame["type"] == kind:
            return frame


async def closed(ws: ClientWebSocketResponse) -> int | None:
    while (received := await ws.receive(timeout=30)).type is WSMsgType.TEXT:
        pass
    assert received.type is WSMsgType.CLOSE, received
    return ws.close_code


async def test_a_message_reaches_everybody_and_its_sender_is_told_its_place(site: Site) -> None:
    ann, joined = await site.join("ann")
    reader, _ = await site.join()
    assert joined["channel_name"] == "ann"
    assert joined["live_stream_id"] == str(STREAM)
    assert joined["you"] == str(ANN.user_id)
    assert (joined["history"], joined["recovered"]) == ([], False)
    await ann.send_json({"type": "send", "id": "c1", "text": "  hello <b>  "})
    accepted = await read(ann, "accepted")
    assert accepted == {"type": "accepted", "id": "c1", "offset": 1, "epoch": joined["epoch"]}
    frame = await read(reader, "messages")
    message = frame["messages"][0]
    assert (message["offset"], message["text"], message["username"]) == (1, "hello <b>", "ann")
    assert message["user_id"] == str(ANN.user_id)
    assert frame["epoch"] == joined["epoch"]


async def test_the_same_client_id_is_accepted_again_and_told_once(site: Site) -> None:
    ann, _ = await site.join("ann")
    bob, _ = await site.join("bob")
    for _ in range(2):
        await ann.send_json({"type": "send", "id": "c1", "text": "once"})
        assert (await read(ann, "accepted"))["offset"] == 1
    await bob.send_json({"type": "send", "id": "c1", "text": "another sender's c1"})
    assert (await read(bob, "accepted"))["offset"] == 2


async def test_a_returning_client_gets_what_it_missed(site: Site) -> None:
    ann, joined = await site.join("ann")
    for number in range(3):
        await ann.send_json({"type": "send", "id": f"c{number}", "text": f"t{number}"})
    seen = 0
    while seen < 3:  # what is accepted is told at the next tick
        seen = (await read(ann, "messages"))["messages"][-1]["offset"]
    _, again = await site.join(since={"offset": 1, "epoch": joined["epoch"]})
    assert again["recovered"]
    assert [message["offset"] for message in again["history"]] == [2, 3]
    _, lost = await site.join(since={"offset": 1, "epoch": "another"})
    assert not lost["recovered"]
    assert [message["offset"] for message in lost["history"]] == [1, 2, 3]


async def test_readers_and_strangers_cannot_write(site: Site) -> None:
    reader, joined = await site.join()
    assert joined["you"] is None
    await reader.send_json({"type": "send", "id": "c1", "text": "hello"})
    assert await read(reader, "error") == {
        "type": "error", "code": "read-only", "detail": "only people who are logged in can write", "id": "c1",
    }  # fmt: skip
    ws = await site.connect()
    await ws.send_json({"type": "join", "room": str(ROOM), "token": "forged"})
    assert (await read(ws, "error"))["code"] == "not-authenticated"
    await ws.send_json({"type": "join", "room": str(ROOM), "token": "bob"})
    assert (await read(ws, "joined"))["you"] == str(BOB.user_id)


async def test_messages_per_minute_are_limited_per_user_and_room(site: Site) -> None:
    ann, _ = await site.join("ann")
    second, _ = await site.join("ann")
    for number in range(10):
        await (ann, second)[number % 2].send_json({"type": "send", "id": f"c{number}", "text": "x"})
        await read((ann, second)[number % 2], "accepted")
    for number in (10, 11):
        await ann.send_json({"type": "send", "id": f"c{number}", "text": "x"})
        error = await read(ann, "error")
        assert (error["code"], error["id"]) == ("rate-limited", f"c{number}")
        assert 1 <= error["retry_after_seconds"] <= 60
    bob, _ = await site.join("bob")
    await bob.send_json({"type": "send", "id": "c", "text": "x"})
    await read(bob, "accepted")


def joining(text: str, room: UUID) -> str:
    return text.replace("%s", str(room))


WRONG_BEFORE_JOIN = {
    "not JSON": ("nonsense", "bad-frame", "JSON"),
    "not an object": ("[1]", "bad-frame", "object"),
    "no type": ("{}", "bad-frame", "type"),
    "unknown type": ('{"type":"shout"}', "bad-frame", "shout"),
    "another version": (joining('{"type":"join","v":2,"room":"%s"}', ROOM), "unsupported-version", "version 1"),
    "an unknown field": (joining('{"type":"join","room":"%s","tokn":"x"}', ROOM), "bad-frame", "tokn"),
    "a missing field": ('{"type":"join"}', "bad-frame", "room"),
    "a room that is no id": ('{"type":"join","room":"main"}', "bad-frame", "room"),
    "an unknown room": (joining('{"type":"join","room":"%s"}', uuid4()), "room-not-found", "no channel"),
    "a send before the join": ('{"type":"send","id":"a","text":"b"}', "not-joined", "join"),
    "a negative offset": (
        joining('{"type":"join","room":"%s","since":{"offset":-1,"epoch":"e"}}', ROOM), "bad-frame", "since.offset",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_BEFORE_JOIN)
async def test_wrong_frames_are_refused_clearly_and_the_connection_goes_on(site: Site, case: str) -> None:
    text, code, part = WRONG_BEFORE_JOIN[case]
    ws = await site.connect()
    await ws.send_str(text)
    error = await read(ws, "error")
    assert error["code"] == code
    assert part in error["detail"]
    await ws.send_json({"type": "join", "room": str(ROOM), "token": "ann"})
    await read(ws, "joined")


WRONG_SENDS: dict[str, tuple[dict[str, object], str]] = {
    "too long": ({"text": "x" * 501}, "500"),
    "empty": ({"text": "   "}, "text"),
    "a control character": ({"text": "a\u0000b"}, "control"),
    "a line break": ({"text": "a\nb"}, "control"),
    "no id": ({"id": ""}, "id"),
    "an id with blanks": ({"id": "a b"}, "id"),
    "a number as text": ({"text": 5}, "text"),
}


@pytest.mark.parametrize("case", WRONG_SENDS)
async def test_wrong_sends_name_the_field_and_the_limit(site: Site, case: str) -> None:
    fields, part = WRONG_SENDS[case]
    ws, _ = await site.join("ann")
    await ws.send_json({"type": "send", "id": "c1", "text": "fine", **fields})
    error = await read(ws, "error")
    assert error["code"] == "bad-frame"
    assert part in error["detail"]
    assert "xxxx" not in error["detail"], "a refusal does not repeat what was sent"


async def test_five_hundred_characters_of_any_script_are_fine(site: Site) -> None:
    ws, _ = await site.join("ann")
    await ws.send_str(json.dumps({"type": "send", "id": "c1", "text": "\U0001f600" * 500}, ensure_ascii=False))
    await read(ws, "accepted")


async def test_a_binary_frame_is_refused(site: Site) -> None:
    ws = await site.connect()
    await ws.send_bytes(b"{}")
    assert "text frames" in (await read(ws, "error"))["detail"]


async def test_joining_twice_is_refused(site: Site) -> None:
    ws, _ = await site.join("ann")
    await ws.send_json({"type": "join", "room": str(ROOM)})
    assert (await read(ws, "error"))["code"] == "already-joined"


async def test_too_big_a_frame_closes_with_1009(site: Site) -> None:
    ws, _ = await site.join("ann")
    await ws.send_str("x" * 5_000)
    assert await closed(ws) == 1009


async def test_a_frame_that_is_not_utf8_closes_with_1007(site: Site) -> None:
    ws, _ = await site.join("ann")
    await ws.send_frame(b"\xff\xfe", WSMsgType.TEXT)
    assert await closed(ws) == 1007


async def test_too_many_bad_frames_close(site: Site) -> None:
    ws = await site.connect()
    for _ in range(10):
        await ws.send_str("nonsense")
    assert await closed(ws) == CloseCode.TOO_MANY_BAD_FRAMES


async def test_who_does_not_join_in_time_is_closed() -> None:
    async with site_of(chat_join_timeout_seconds=1.5) as site:
        ws = await site.connect()
        joined, _ = await site.join()
        assert await closed(ws) == CloseCode.JOIN_TIMEOUT
        await asyncio.sleep(0.5)
        assert not joined.closed


async def test_only_known_origins_connect(site: Site) -> None:
    await (await site.connect(origin="http://here.test")).close()
    await (await site.connect()).close()
    with pytest.raises(WSServerHandshakeError) as refused:
        await site.connect(origin="http://elsewhere.test")
    assert refused.value.status == 403


async def test_connections_are_limited_per_process_and_address() -> None:
    async with site_of(chat_connections_max=3, chat_connections_per_address_max=2) as site:
        first = await site.connect(address="forged, 10.0.0.1")
        second = await site.connect(address="10.0.0.1")
        with pytest.raises(WSServerHandshakeError) as refused:
            await site.connect(address="10.0.0.1")
        assert refused.value.status == 429
        third = await site.connect(address="10.0.0.2")
        with pytest.raises(WSServerHandshakeError) as full:
            await site.connect(address="10.0.0.3")
        assert full.value.status == 503
        assert full.value.headers is not None
        assert "Retry-After" in full.value.headers
        assert not second.closed
        assert not third.closed
        await first.close()
        await _eventually_connects(site)


async def test_an_address_is_that_of_the_nearest_who_is_no_proxy() -> None:
    async with site_of(chat_connections_per_address_max=1) as site:
        await site.connect(address="10.0.0.1, 127.0.0.1")
        for same in ("10.0.0.1", "::ffff:10.0.0.1", "10.9.9.9, 10.0.0.1", "10.0.0.1, 127.0.0.1,127.0.0.1"):
            with pytest.raises(WSServerHandshakeError):
                await site.connect(address=same)
        await site.connect(address="2001:db8:0:1::1")
        with pytest.raises(WSServerHandshakeError):
            await site.connect(address="2001:db8:0:1:ffff::2")
        await site.connect(address="2001:db8:0:2::1")
        await site.connect(address="10.0.0.1, nonsense")


async def test_connections_of_one_account_are_limited() -> None:
    async with site_of(chat_connections_per_user_max=2) as site:
        first, _ = await site.join("ann")
        await site.join("ann")
        third = await site.connect()
        await third.send_json({"type": "join", "room": str(ROOM), "token": "ann"})
        assert (await read(third, "error"))["code"] == "too-many-connections"
        assert await closed(third) == CloseCode.TOO_MANY_OF_USER
        await site.join("bob")
        await site.join()
        await first.close()

        async def joins() -> bool:
            again = await site.connect()
            await again.send_json({"type": "join", "room": str(ROOM), "token": "ann"})
            return bool((await again.receive_json(timeout=30))["type"] == "joined")

        await eventually(joins)


@pytest.mark.parametrize("proxies", ["edge", "10.0.0.1,10.0.0.0/99"])
def test_a_proxy_is_an_address_or_a_network(proxies: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        settings(http_trusted_proxies=proxies)


async def _eventually_connects(site: Site) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                await site.connect(address="10.0.0.1")
            except ClientResponseError:
                await asyncio.sleep(0.02)
            else:
                return


async def test_a_request_that_is_no_websocket_is_a_clear_400(site: Site) -> None:
    async with site.session.get(f"{site.url}/chat") as answer:
        assert answer.status == 400
        assert answer.content_type == "application/problem+json"


async def test_draining_tells_everybody_to_reconnect(site: Site) -> None:
    sockets = [(await site.join("ann"))[0] for _ in range(20)]
    draining = asyncio.create_task(site.gateway.drain())
    assert {await closed(ws) for ws in sockets} == {CloseCode.DRAINING}
    await draining
    with pytest.raises(WSServerHandshakeError) as refused:
        await site.connect()
    assert refused.value.status == 503


async def test_without_the_broker_clients_stay_and_sends_are_refused() -> None:
    server = MemoryServer(Retention())
    async with site_of(server) as site:
        ann, _ = await site.join("ann")
        server.go_away()
        assert (await read(ann, "status"))["chat"] == "unavailable"
        await ann.send_json({"type": "send", "id": "c1", "text": "hello"})
        assert (await read(ann, "error"))["code"] == "unavailable"
        late, _ = await site.join()
        assert (await read(late, "status"))["chat"] == "unavailable"
        server.come_back()
        assert (await read(ann, "status"))["chat"] == "available"
        await ann.send_json({"type": "send", "id": "c1", "text": "hello"})
        assert (await read(ann, "accepted"))["offset"] == 1
        assert (await read(late, "messages"))["messages"][0]["text"] == "hello"


LONG = '{"type":"send","id":"c%d","text":"' + "\U0001f600" * 500 + '"}'


async def test_a_client_that_does_not_read_is_cut_and_the_others_go_on() -> None:
    async with site_of(
        chat_backlog_bytes_max=131_072, chat_send_buffer_bytes=8_192, chat_messages_per_minute=6_000
    ) as site:
        cut_before = metrics.slow_clients_cut._value.get()
        reading, writing = await _stalled(site)
        ann, _ = await site.join("ann")
        reader, _ = await site.join()
        offsets: list[int] = []

        async def listen() -> None:
            while True:
                offsets.extend(message["offset"] for message in (await read(reader, "messages"))["messages"])

        listening = asyncio.create_task(listen())
        sent = 0
        async with asyncio.timeout(30):
            while metrics.slow_clients_cut._value.get() == cut_before:
                await ann.send_str(LONG % sent)
                await read(ann, "accepted")
                sent += 1
                await asyncio.sleep(0.003)  # a pace that a client that reads keeps up with
            while len(offsets) < sent:  # noqa: ASYNC110  a condition with a deadline
                await asyncio.sleep(0.01)
        listening.cancel()
        assert offsets == list(range(1, sent + 1))
        assert sent < 3_000, "the bound is bytes, not minutes"
        await _until_reset(reading)
        writing.close()


async def _stalled(site: Site) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A client that joins and then reads nothing, with a small window of its own."""
    host, port = site.url.removeprefix("http://").split(":")
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, (host, int(port)))
    reading, writing = await asyncio.open_connection(sock=raw, limit=1_024)
    writing.write(
        f"GET /chat HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    await reading.readuntil(b"\r\n\r\n")
    join = json.dumps({"type": "join", "room": str(ROOM)}).encode()
    writing.write(bytes([0x81, 0x80 | len(join), 0, 0, 0, 0]) + join)  # masked with zeros
    return reading, writing


async def _until_reset(reading: asyncio.StreamReader) -> None:
    with pytest.raises(ConnectionResetError):
        async with asyncio.timeout(10):
            while await reading.read(65_536):
                pass


def test_every_client_frame_is_tried_wrong_and_right() -> None:
    assert {model.__name__ for model in CLIENT_FRAMES} == {"Join", "Send"}, "new frames need cases here"
