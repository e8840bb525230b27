"""A gateway under random bytes: whatever comes, it answers in order by RFC 6455 or ends the connection with a code."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from chat.sockets.closecodes import CloseCode
from tests.integration.chat.gateways import Person
from tests.integration.chat.rfc6455 import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, client_frame, close_frame
from tests.integration.chat.wire import WireGateway, looked_on, wire_gateway

__all__ = ["wire_gateway"]

CODES = {None, 1000, 1002, 1007, 1009, *(code.value for code in CloseCode)}
CLIENTS = 30

JSON_FRAMES = st.sampled_from(
    ['{"type":"send","id":"a","text":" "}', '{"type":"send"}', "{}", "[]", '"', "null", '{"type":"join","room":"%s"}']
)
FRAMES = st.one_of(
    st.binary(max_size=80),
    st.builds(
        client_frame,
        st.one_of(st.binary(max_size=300), JSON_FRAMES, st.text(max_size=200)),
        st.sampled_from([TEXT, TEXT, TEXT, BINARY, CONTINUATION, PING, PONG, 5, 12]),
        fin=st.booleans() | st.just(True),
        rsv=st.sampled_from([0] * 12 + [1, 2, 4]),
        unmasked=st.sampled_from([False] * 12 + [True]),
    ),
    st.builds(client_frame, st.just(""), st.sampled_from([TEXT, CONTINUATION]), said_length=st.integers(0, 2**64 - 1),
              length_bytes=st.just(8)),
    st.builds(close_frame, st.integers(0, 65_535) | st.none(), st.binary(max_size=100)),
)  # fmt: skip
CONVERSATIONS = st.lists(st.lists(FRAMES, max_size=12), min_size=CLIENTS, max_size=CLIENTS)


@settings(
    max_examples=12,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(CONVERSATIONS, st.booleans())
def test_random_frames_end_with_a_code_or_are_answered(
    wire_gateway: WireGateway, conversations: Sequence[Sequence[bytes]], joined: bool
) -> None:
    asyncio.run(_strike(wire_gateway, conversations, joined))


async def _strike(gateway: WireGateway, conversations: Sequence[Sequence[bytes]], joined: bool) -> None:
    async with looked_on(gateway) as scene:

        async def talk(frames: Sequence[bytes]) -> int | None:
            client = await (scene.joined(Person("fuzz")) if joined else scene.connect())
            try:
                for frame in frames:
                    client.send(frame)
                    await asyncio.sleep(0)
                client.send(close_frame(1000))
                # inside a frame of random length nothing is understood any more: then this end of the connection closes
                with suppress(OSError):  # the gateway may have ended it first
                    client.writer.write_eof()
                return await client.ending()
            finally:
                await client.end()

        codes = await asyncio.gather(*(talk(frames) for frames in conversations))
        assert set(codes) <= CODES, codes


def test_the_conversations_are_not_all_wrong(wire_gateway: WireGateway) -> None:
    """What is in order among random frames is answered: else the fuzz would test nothing behind the first check."""

    async def work() -> None:
        async with looked_on(wire_gateway) as scene:
            client = await scene.joined()
            client.send(client_frame("{"), client_frame("", PONG), client_frame(b"\x00", BINARY))
            for _ in range(2):
                assert (await client.until("error"))["code"] == "bad-frame"
            client.send(client_frame(json.dumps({"type": "send", "id": "a", "text": "x"})))
            assert (await client.until("error"))["code"] == "read-only"
            client.send(client_frame(b"\x03\xe8", CLOSE))
            assert await client.ending() == 1000

    asyncio.run(work())
