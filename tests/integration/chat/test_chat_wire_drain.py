"""A gateway that is asked to stop: unready first, then its clients are sent away bit by bit while the room goes on."""

import asyncio
import json
import signal
import urllib.error
import urllib.request
from time import monotonic

from chat.sockets.closecodes import CloseCode
from tests.integration.chat.gateways import Person, eventually
from tests.integration.chat.rfc6455 import CLOSE, TEXT
from tests.integration.chat.wire import WAIT_SECONDS, RawClient, WireGateway, wire_gateway

__all__ = ["wire_gateway"]

CLIENTS = 60


async def test_readiness_goes_first_then_the_clients_a_few_at_a_time(wire_gateway: WireGateway) -> None:
    ends = []
    for _ in range(CLIENTS):  # one after the other: who is connected has to join in time, and to answer pings
        client = await RawClient.connect(wire_gateway.port)
        await client.join(wire_gateway.room)
        ends.append(asyncio.create_task(_end(client)))
    speaker = await RawClient.connect(wire_gateway.port)
    await speaker.join(wire_gateway.room, wire_gateway.accounts.token(Person("speaker")))
    wire_gateway.process.send_signal(signal.SIGTERM)
    await eventually(lambda: _readiness(wire_gateway) == 503)
    assert not any(end.done() for end in ends), "unready before anybody is sent away"
    late = await RawClient.connect(wire_gateway.port)
    assert late.head.startswith(b"HTTP/1.1 101"), "whoever was on the way is still let in"
    speaker.send_json(type="send", id="still", text="still here")
    assert (await speaker.until("accepted"))["id"] == "still"
    ended = sorted([await end for end in ends])
    assert {code for _, _, code in ended} == {CloseCode.DRAINING}
    assert CloseCode.DRAINING.reconnect
    first, last = ended[0][0], ended[-1][0]
    assert last - first > 1.0, "spread over seconds"
    assert [texts[0] for _, texts, _ in ended if texts] == ["still here"] * CLIENTS, "rooms run until the last has left"
    async with asyncio.timeout(WAIT_SECONDS):
        assert await asyncio.to_thread(wire_gateway.process.wait) == 0
    await asyncio.gather(speaker.end(), late.end())


async def _end(client: RawClient) -> tuple[float, list[str], int | None]:
    """When it was sent away, what it had heard until then, and with which code."""
    texts: list[str] = []
    async with asyncio.timeout(3 * WAIT_SECONDS):
        while (frame := await client.next()) is not None:
            if frame.opcode == CLOSE:
                at = monotonic()
                await client.end()
                return at, texts, frame.close_code
            if frame.opcode == TEXT:
                content = json.loads(frame.payload)
                texts += [one["text"] for one in content.get("messages", ())]
    raise AssertionError("no close frame")


def _readiness(gateway: WireGateway) -> int:
    try:
        with urllib.request.urlopen(gateway.url("/readyz"), timeout=5) as answer:  # noqa: S310  http, of our own process
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        with refused:
            assert "leaving" in json.loads(refused.read())["checks"]
            return refused.code
