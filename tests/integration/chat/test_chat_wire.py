"""A gateway against bytes: RFC 6455 to the letter, limits, floods; nobody else in the room notices any of it."""

import asyncio
import json
import struct
from contextlib import suppress

import pytest

from chat.sockets.closecodes import CloseCode
from chat.sockets.gateway import FRAME_BYTES_MAX
from tests.integration.chat.gateways import Person, eventually
from tests.integration.chat.rfc6455 import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    client_frame,
    close_frame,
)
from tests.integration.chat.wire import (
    JOIN_TIMEOUT_SECONDS,
    WAIT_SECONDS,
    RawClient,
    Scene,
    handshake,
    scene,
    wire_gateway,
)

__all__ = ["scene", "wire_gateway"]

PROTOCOL_ERROR, NOT_UTF8, TOO_BIG = 1002, 1007, 1009
SLOW_BYTES = 200
"""So many come one by one: among them is the header of every frame that matters."""

UNREAD = "a megabyte"
BROKEN: dict[str, tuple[list[bytes], int]] = {
    "reserved bit 1": ([client_frame("{}", rsv=4)], PROTOCOL_ERROR),
    "reserved bit 2": ([client_frame("{}", rsv=2)], PROTOCOL_ERROR),
    "reserved bit 3": ([client_frame("{}", rsv=1)], PROTOCOL_ERROR),
    "a reserved bit on a ping": ([client_frame("", PING, rsv=4)], PROTOCOL_ERROR),
    **{f"opcode {opcode}": ([client_frame("x", opcode)], PROTOCOL_ERROR) for opcode in (3, 7, 11, 15)},
    "unmasked": ([client_frame("{}", unmasked=True)], PROTOCOL_ERROR),
    "an unmasked ping": ([client_frame("", PING, unmasked=True)], PROTOCOL_ERROR),
    "a ping of 126 bytes": ([client_frame("x" * 126, PING)], PROTOCOL_ERROR),
    "a ping in two parts": ([client_frame("x", PING, fin=False)], PROTOCOL_ERROR),
    "a close in two parts": ([client_frame(b"\x03\xe8", CLOSE, fin=False)], PROTOCOL_ERROR),
    "a continuation of nothing": ([client_frame("x", CONTINUATION)], PROTOCOL_ERROR),
    "a continuation after the end": (
        [client_frame("{", fin=False), client_frame("}", CONTINUATION), client_frame("x", CONTINUATION)],
        PROTOCOL_ERROR,
    ),
    "a new message inside another": ([client_frame("{", fin=False), client_frame("}")], PROTOCOL_ERROR),
    "a new message inside one that is empty so far": ([client_frame("", fin=False), client_frame("}")], PROTOCOL_ERROR),
    "binary inside text": ([client_frame("{", fin=False), client_frame("}", BINARY, fin=False)], PROTOCOL_ERROR),
    "a length in two bytes that needs none": ([client_frame("{}", length_bytes=2)], PROTOCOL_ERROR),
    "a length in eight bytes that needs two": ([client_frame("x" * 200, length_bytes=8)], PROTOCOL_ERROR),
    "4,097 bytes": ([client_frame("x" * (FRAME_BYTES_MAX + 1))], TOO_BIG),
    UNREAD: ([client_frame("x" * 1_000_000)], TOO_BIG),
    "said to be 2^63 bytes": ([client_frame("x", said_length=2**63)], TOO_BIG),
    "said to be 2^62 bytes": ([client_frame("x", said_length=2**62)], TOO_BIG),
    "4,097 bytes in parts": (
        [client_frame("x" * 4_000, fin=False), client_frame("x" * 97, CONTINUATION)],
        TOO_BIG,
    ),
    "ever more parts": (
        [client_frame("x", fin=False), *(client_frame("x" * 1_000, CONTINUATION, fin=False) for _ in range(5))],
        TOO_BIG,
    ),
    "not UTF-8": ([client_frame(b'"\xff"')], NOT_UTF8),
    "half a character": ([client_frame('"é'.encode()[:-1])], NOT_UTF8),
    "a surrogate": ([client_frame(b"\xed\xa0\x80")], NOT_UTF8),
    "an overlong slash": ([client_frame(b"\xc0\xaf")], NOT_UTF8),
    "not UTF-8 in the second part": (
        [client_frame('"é'.encode()[:-1], fin=False), client_frame(b'"', CONTINUATION)],
        NOT_UTF8,
    ),
    **{
        f"a close with code {code}": ([close_frame(code)], PROTOCOL_ERROR)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
    },
    "a close of one byte": ([client_frame(b"\x03", CLOSE)], PROTOCOL_ERROR),
    "a close whose reason is not UTF-8": ([close_frame(1000, b"\xff\xff")], NOT_UTF8),
    "a close in parts between the bytes": ([close_frame(1006, b"x" * 100)], PROTOCOL_ERROR),
}


@pytest.mark.parametrize("pieces", ["whole", "bytes"])
async def test_what_breaks_the_protocol_closes_with_the_code_that_says_so(scene: Scene, pieces: str) -> None:
    async def strike(name: str, frames: list[bytes], joined: bool) -> tuple[str, int | None]:
        client = await (scene.joined() if joined else scene.connect())
        ending = asyncio.create_task(client.ending())
        if pieces == "whole":
            client.send(*frames)
        else:
            wire = b"".join(frames)
            await client.send_slowly(wire[:SLOW_BYTES])
            client.send(wire[SLOW_BYTES:])
        code = await ending
        assert code is not None or client.reset, f"{name}: ended without a reason"
        return name, code

    cases = list(BROKEN.items())
    codes = dict(
        await asyncio.gather(
            *(strike(name, frames, bool(number % 2)) for number, (name, (frames, _)) in enumerate(cases))
        )
    )
    # What the gateway has not read when it gives up on a client is answered by a reset, which may overtake the reason:
    # always with a megabyte, else only when so many at once have kept this client waiting.
    if codes[UNREAD] is None:
        codes[UNREAD] = TOO_BIG
    for name in [name for name, code in codes.items() if code is None]:
        codes.update([await strike(name, BROKEN[name][0], joined=False)])
    assert codes == {name: code for name, (_, code) in cases}


CLOSES = {"nothing": None, "1000": 1000, "1001": 1001, "1011": 1011, "3000": 3000, "4999": 4999}


@pytest.mark.parametrize("case", CLOSES)
async def test_a_close_is_answered_and_ends_the_connection(scene: Scene, case: str) -> None:
    client = await scene.joined()
    client.send(close_frame(CLOSES[case], "" if CLOSES[case] is None else "goodbye, and é"))
    client.send(client_frame("after the close nothing counts"))
    assert await client.ending() == 1000
    assert not client.reset


async def _refused_as(client: RawClient, code: str) -> None:
    assert (await client.until("error"))["code"] == code


async def test_a_message_may_come_in_any_parts_with_pings_between(scene: Scene) -> None:
    client = await scene.connect()
    client.answers_pings = False
    join = json.dumps({"type": "join", "room": str(scene.gateway.room)}).encode()
    parts = [join[at : at + 7] for at in range(0, len(join), 7)]
    client.send(client_frame(parts[0], fin=False, mask=bytes(4)))
    for part in parts[1:]:
        client.send(client_frame(b"\x00\xff", PING), client_frame(part, CONTINUATION, fin=False))
        await asyncio.sleep(0)
    await client.send_slowly(client_frame(b"", CONTINUATION))
    pongs = 0
    async with asyncio.timeout(WAIT_SECONDS):
        while (frame := await client.next()) is not None and frame.opcode != TEXT:
            assert (frame.opcode, frame.payload) == (PONG, b"\x00\xff")
            pongs += 1
    assert frame is not None
    assert json.loads(frame.payload)["type"] == "joined"
    assert pongs == len(parts) - 1
    await client.end()


@pytest.mark.parametrize("split", [3, 11, 61])
async def test_every_split_of_a_frame_over_tcp_is_one_frame(scene: Scene, split: int) -> None:
    """Each connection gets the same two frames, cut somewhere else."""
    join = client_frame(
        json.dumps({"type": "join", "room": str(scene.gateway.room), "x": "é" * 70}, ensure_ascii=False)
    )
    both = join + client_frame("{}")

    async def cut(at: int) -> None:
        client = await scene.connect()
        client.send(both[:at])
        await client.writer.drain()
        await asyncio.sleep(0)
        client.send(both[at:])
        for field in ("x", "type"):
            assert field in (await client.until("error"))["detail"]
        await client.end()

    await asyncio.gather(*(cut(at) for at in range(1, len(both), split)))


async def test_exactly_four_kibibytes_are_read(scene: Scene) -> None:
    client = await scene.joined()
    send = json.dumps({"type": "send", "id": "a", "text": ""})
    client.send(client_frame(send + " " * (FRAME_BYTES_MAX - len(send))))
    assert "text" in (await client.until("error"))["detail"]
    client.send(client_frame("", fin=False), client_frame(send + " " * (FRAME_BYTES_MAX - len(send)), CONTINUATION))
    assert "text" in (await client.until("error"))["detail"]
    client.send(client_frame(b"\x00\x01", BINARY))
    assert "text frames" in (await client.until("error"))["detail"]
    client.send(client_frame(""))
    await _refused_as(client, "bad-frame")
    await client.end()


REQUESTS: dict[str, tuple[bytes, int]] = {
    "another version": (handshake(Sec_WebSocket_Version="8"), 426),
    "no version": (handshake(Sec_WebSocket_Version=None), 426),
    "no key": (handshake(Sec_WebSocket_Key=None), 400),
    "a short key": (handshake(Sec_WebSocket_Key="c2hvcnQ="), 400),
    "a key that is not base64": (handshake(Sec_WebSocket_Key="!!"), 400),
    "no upgrade": (handshake(Upgrade=None), 400),
    "upgrade to another protocol": (handshake(Upgrade="h2c"), 400),
    "no connection header": (handshake(Connection=None), 400),
    "a page of another site": (handshake(Origin="http://evil.test"), 403),
    "a page of nowhere": (handshake(Origin="null"), 403),
    "a page of ours in capitals": (handshake(Origin="HTTP://EDGE.test"), 101),
    "garbage": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and more\r\n\r\n", 400),
    "a frame instead of a request": (client_frame("{}") + b"\r\n\r\n", 400),
    "a header of 9 KB": (handshake(X_Long="x" * 9_000), 400),
    "a body": (handshake(Content_Length="5") + b"hello", 101),
    "POST": (handshake().replace(b"GET", b"POST", 1), 405),
    "HTTP/1.0": (handshake().replace(b"HTTP/1.1", b"HTTP/1.0", 1), 400),
}


@pytest.mark.parametrize("case", REQUESTS)
async def test_a_request_that_is_wrong_is_answered_so(scene: Scene, case: str) -> None:
    request, status = REQUESTS[case]
    client = await RawClient.open(scene.gateway.port)
    client.send(request)
    assert await client.read_head() == status
    if status == 426:
        assert b"sec-websocket-version: 13\r\n" in client.head.lower()
    await client.end()


async def test_compression_and_subprotocols_are_declined(scene: Scene) -> None:
    client = await scene.connect(
        Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits, x-other",
        Sec_WebSocket_Protocol="irc, chat",
    )
    assert b"sec-websocket-extensions" not in client.head.lower()
    assert b"sec-websocket-protocol" not in client.head.lower()
    await client.join(scene.gateway.room)
    await client.end()


async def test_frames_before_the_upgrade_is_answered_do_no_harm(scene: Scene) -> None:
    join = client_frame(json.dumps({"type": "join", "room": str(scene.gateway.room)}))
    early = await RawClient.connect(scene.gateway.port, join)
    await early.until("joined")
    await early.end()
    for before in (join[:20], b"\xff" * 5_000, client_frame("{}", unmasked=True)):
        broken = await RawClient.connect(scene.gateway.port, before)
        broken.send(client_frame("x" * 5_000))
        with suppress(AssertionError):  # cut off in the middle of nothing that it understood
            await broken.ending()


@pytest.mark.parametrize("opcode", [PING, PONG, TEXT, CONTINUATION])
async def test_a_flood_of_frames_is_closed_and_costs_little(scene: Scene, opcode: int) -> None:
    """A hundred thousand frames in one go: some dozens are handled."""
    client = await scene.joined(Person("flooder"))
    refused = scene.gateway.metric("livestream_chat_refused_frames_total")
    client.answers_pings = False
    if opcode == CONTINUATION:
        client.send(client_frame("", fin=False))
    fin = opcode != CONTINUATION
    frame = {TEXT: client_frame(json.dumps({"type": "send", "id": "x", "text": ""}))}.get(
        opcode, client_frame("", opcode, fin=fin)
    )
    client.send(frame * 100_000)
    handled = 0
    code = None
    async with asyncio.timeout(WAIT_SECONDS):
        while (answer := await client.next()) is not None and code is None:
            handled += 1
            code = answer.close_code if answer.opcode == CLOSE else None
    await client.end()
    assert code == CloseCode.TOO_MANY_FRAMES
    assert handled < 120
    assert scene.gateway.metric("livestream_chat_refused_frames_total") - refused <= 10


async def test_a_flood_of_sends_is_refused_then_closed(scene: Scene) -> None:
    """Well-formed sends over the allowance: refused with a code each, until it is a flood."""
    client = await scene.joined(Person("flooder"))
    scene.bystander_may_see_messages()
    client.send(*(client_frame(json.dumps({"type": "send", "id": "same", "text": "x"})) for _ in range(5_000)))
    codes: list[str] = []
    async with asyncio.timeout(WAIT_SECONDS):
        while (frame := await client.next()) is not None and frame.opcode == TEXT:
            content = json.loads(frame.payload)
            if content["type"] == "error":
                codes.append(content["code"])
    assert frame is not None
    assert frame.close_code == CloseCode.TOO_MANY_FRAMES
    assert len(codes) < 100
    await client.end()


async def test_a_join_that_never_comes_ends_in_time_for_hundreds(scene: Scene) -> None:
    """Whatever they send or do not send instead, and however many: closed with the reason, and their memory is back."""
    clients = await asyncio.gather(*(scene.connect() for _ in range(400)))
    for client in clients[::2]:
        client.send(client_frame("", PING))
    async with asyncio.timeout(JOIN_TIMEOUT_SECONDS + WAIT_SECONDS):
        codes = await asyncio.gather(*(_silent_until_the_end(client) for client in clients))
    assert set(codes) == {CloseCode.JOIN_TIMEOUT}
    await eventually(lambda: scene.gateway.metric("livestream_chat_connections") <= 1)


async def _silent_until_the_end(client: RawClient) -> int | None:
    while (frame := await client.next()) is not None:
        if frame.opcode == CLOSE:
            await client.end()
            return frame.close_code
    return None


async def test_a_client_without_pongs_is_dropped_and_one_with_them_stays(scene: Scene) -> None:
    deaf, fine = await scene.joined(), await scene.joined()
    deaf.answers_pings = False
    staying = asyncio.create_task(_silent_until_the_end(fine))
    async with asyncio.timeout(WAIT_SECONDS):
        assert await _silent_until_the_end(deaf) is None, "dropped without a code: nobody listens there"
    assert not staying.done()
    staying.cancel()
    await asyncio.wait([staying])
    await asyncio.gather(deaf.end(), fine.end())


async def test_a_client_that_neither_reads_nor_answers_leaves_nothing_behind(scene: Scene) -> None:
    """Its unsent bytes must not hold its socket open: more than the kernel takes, less than makes it slow."""
    stalled = await RawClient.open(scene.gateway.port, receive_bytes=4_096)
    stalled.send(handshake())
    assert await stalled.read_head() == 101
    await stalled.join(scene.gateway.room)
    stalled.stop_reading()
    local = stalled.writer.get_extra_info("sockname")[1]
    assert local in established_peers(scene.gateway.port)
    scene.bystander_may_see_messages()
    await asyncio.gather(*(_ten_long_messages(scene, number) for number in range(12)))
    await eventually(lambda: local not in established_peers(scene.gateway.port))
    await stalled.end()


async def _ten_long_messages(scene: Scene, number: int) -> None:
    client = await scene.joined(Person(f"talker{number}"))
    for message in range(10):
        text = json.dumps({"type": "send", "id": f"m{message}", "text": "\U0001f600" * 500}, ensure_ascii=False)
        client.send(client_frame(text))
        await client.until("accepted")
    await client.end()


def established_peers(port: int) -> set[int]:
    """The ports of clients that are connected to a port of 127.0.0.1, as the kernel sees the server's end."""
    peers = set()
    with open("/proc/net/tcp") as table:  # noqa: PTH123  a table of the kernel
        for line in table.readlines()[1:]:
            local, remote, state = line.split()[1:4]
            if state == "01" and int(local.partition(":")[2], 16) == port:
                peers.add(int(remote.partition(":")[2], 16))
    return peers


async def test_the_reason_travels_with_the_code(scene: Scene) -> None:
    client = await scene.connect()
    client.send(client_frame("{}", rsv=1))
    async with asyncio.timeout(WAIT_SECONDS):
        frame = await client.next()
    assert frame is not None
    assert frame.payload == struct.pack("!H", 1002) + CloseCode.PROTOCOL_ERROR.reason.encode()
    await client.end()
