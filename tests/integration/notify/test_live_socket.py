"""The live lane as a WebSocket: the same notices as the event stream, let in by its first frame, bounded, drained."""

import asyncio
import json
import socket
from typing import Any

import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType, WSServerHandshakeError

from eventbus.bus_memory import MemoryBus
from notify.live_frames import CloseCode
from runtime.postgres import Pool
from tests.integration.notify.conftest import StartNotify
from tests.integration.notify.processes import Person, RunningNotify, eventually, say, seed, slow_clients_cut, started

ADA, BOB = Person("ada"), Person("bob")


@pytest.fixture(autouse=True)
async def bob_follows_ada(pool: Pool) -> None:
    await seed(pool, ADA, [BOB.user_id])


async def opened(notify: RunningNotify, **headers: str) -> ClientWebSocketResponse:
    ws = await notify.session.ws_connect(f"{notify.url}/api/notifications/socket", headers=headers)
    notify.sockets.append(ws)
    return ws


async def joined(notify: RunningNotify, person: Person, last_event_id: str | None = None) -> ClientWebSocketResponse:
    ws = await opened(notify)
    await ws.send_json({"type": "hello", "v": 1, "token": person.token, "last_event_id": last_event_id})
    assert await received(ws) == {"type": "ready", "v": 1}
    return ws


async def received(ws: ClientWebSocketResponse) -> dict[str, Any]:
    async with asyncio.timeout(10):
        message = await ws.receive()
    assert message.type is WSMsgType.TEXT, (message.type, ws.close_code)
    frame: dict[str, Any] = json.loads(message.data)
    return frame


async def closing_code(ws: ClientWebSocketResponse) -> int | None:
    async with asyncio.timeout(10):
        while (await ws.receive()).type is WSMsgType.TEXT:
            pass
    code = ws.close_code
    await ws.close()  # what was refused as too large closes nothing on this side
    return code


async def test_both_forms_tell_the_same_and_coming_back_misses_nothing(
    start_notify: StartNotify, bus: MemoryBus
) -> None:
    notify = await start_notify()
    ws, stream = await joined(notify, BOB), await notify.listen(BOB)
    first, second, third = (started(ADA) for _ in range(3))
    await say(bus, first)
    frame = await received(ws)
    await eventually(lambda: len(stream.notices) == 1)
    assert frame == {"type": "notice", "last_event_id": str(first.stream_id), "notice": stream.notices[0]}
    await ws.close()
    await say(bus, second)
    await eventually(lambda: len(stream.notices) == 2)
    back = await joined(notify, BOB, last_event_id=frame["last_event_id"])
    await say(bus, third)
    told = [await received(back), await received(back)]
    assert [one["notice"]["stream_id"] for one in told] == [str(second.stream_id), str(third.stream_id)]


async def test_who_is_not_let_in_is_told_why(start_notify: StartNotify) -> None:
    notify = await start_notify(notify_live_connections_max=1)
    impatient = await start_notify(notify_live_hello_seconds_max=0.3)
    with pytest.raises(WSServerHandshakeError) as refused:
        await opened(notify, Origin="http://elsewhere.test")
    assert refused.value.status == 403
    await (await opened(notify, Origin="http://edge.test")).close()
    bob = await joined(notify, BOB)
    hello = {"type": "hello", "v": 1, "token": ADA.token}
    for said, code in (
        (json.dumps({**hello, "token": "nobody"}), CloseCode.NOT_AUTHENTICATED),
        (json.dumps({**hello, "v": 2}), CloseCode.BAD_FRAME),
        (json.dumps(hello), CloseCode.FULL),
        ("x" * 5_000, 1009),
    ):
        ws = await opened(notify)
        await ws.send_str(said)
        assert await closing_code(ws) == code, said
    assert await closing_code(await opened(impatient)) == CloseCode.HELLO_TIMEOUT
    assert not bob.closed


async def test_who_says_more_than_hello_or_is_there_for_too_long_is_closed(start_notify: StartNotify) -> None:
    notify, ending = await start_notify(), await start_notify(notify_live_connection_seconds_max=0.5)
    chatty, old = await joined(notify, BOB), await joined(ending, BOB)
    await chatty.send_str("hello?")
    assert await closing_code(chatty) == CloseCode.BAD_FRAME
    assert await closing_code(old) == CloseCode.OLD


async def test_stopping_asks_everybody_to_come_back_also_those_without_a_name(start_notify: StartNotify) -> None:
    notify = await start_notify()
    known, nameless = await joined(notify, BOB), await opened(notify)
    closing = asyncio.gather(closing_code(known), closing_code(nameless))
    async with asyncio.timeout(10):
        await notify.stop()
    assert set(await closing) == {CloseCode.DRAINING}


async def test_a_socket_that_does_not_read_is_cut_and_costs_the_others_nothing(
    start_notify: StartNotify, bus: MemoryBus
) -> None:
    notify = await start_notify(notify_live_queue_notices_max=16)
    bob, deaf = await notify.listen(BOB), await _deaf_socket(notify)
    told, cut_before = 0, slow_clients_cut()
    while slow_clients_cut() == cut_before:
        assert told < 2_000, "nobody was cut"
        await say(bus, *(started(ADA, title="x" * 8_000) for _ in range(8)))
        told += 8
        await eventually(lambda: len(bob.events) == told)  # noqa: B023  told is what it is at the time of the call
    assert not bob.ended
    deaf.close()


async def _deaf_socket(notify: RunningNotify) -> asyncio.StreamWriter:
    """A client with a small window that says hello and then does not read."""
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
    plain.setblocking(False)
    host, port = notify.url.removeprefix("http://").split(":")
    await asyncio.get_running_loop().sock_connect(plain, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=plain, limit=256)
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13"
    key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
    writer.write(f"GET /api/notifications/socket HTTP/1.1\r\nHost: n\r\n{upgrade}\r\n{key}\r\n\r\n".encode())
    assert b" 101 " in await reader.readline()
    hello = json.dumps({"type": "hello", "v": 1, "token": BOB.token}).encode()
    writer.write(bytes([0x81, 0x80 | len(hello)]) + bytes(4) + hello)
    await reader.readuntil(b'"ready"')
    return writer
