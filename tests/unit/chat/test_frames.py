"""The frame codec: whatever comes in is a frame or a clear refusal; what goes out is what its model says."""

import json
from datetime import UTC, datetime
from uuid import uuid4

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from chat.brokers.broker import Entry, Position
from chat.rooms.entries import message_body, placed
from chat.sockets import frames
from chat.speaking.rules import OPEN
from runtime.websockets import text_frame

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
ALMOST = st.fixed_dictionaries(
    {"type": st.sampled_from(["join", "send", "shout", None])},
    optional=dict.fromkeys(("v", "room", "token", "since", "id", "text", "more"), JSON),
)


@given(st.text() | JSON.map(json.dumps) | ALMOST.map(json.dumps))
def test_any_text_is_a_frame_or_a_clear_refusal(text: str) -> None:
    try:
        frame = frames.read_client_frame(text)
    except frames.BadFrame as bad:
        assert bad.code in ("bad-frame", "unsupported-version")
        assert 0 < len(bad.detail) <= 300
    else:
        assert isinstance(frame, frames.Join | frames.Send)


@given(st.text(min_size=1, max_size=frames.TEXT_CHARACTERS_MAX))
def test_a_text_is_taken_as_it_is_or_refused(text: str) -> None:
    try:
        frame = frames.read_client_frame(json.dumps({"type": "send", "id": "a", "text": text}))
    except frames.BadFrame:
        return
    assert isinstance(frame, frames.Send)
    assert frame.text == text.strip()
    body = message_body(uuid4(), uuid4(), "ann", frame.text, datetime.now(UTC))
    message = frames.PlacedSaid.model_validate_json(placed(7, body))
    assert (message.offset, message.text) == (7, frame.text)


async def test_frames_of_every_size_are_read_by_a_client() -> None:
    sizes = [0, 1, 125, 126, 127, 65_535, 65_536, 70_000]

    async def serve(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(compress=False)
        await ws.prepare(request)
        assert request.transport is not None
        request.transport.write(b"".join(text_frame(b"x" * size) for size in sizes))
        await ws.close()
        return ws

    application = web.Application()
    application.router.add_get("/", serve)
    async with (
        TestServer(application) as server,
        ClientSession() as session,
        session.ws_connect(server.make_url("/")) as ws,
    ):
        received = [str(message.data) async for message in ws]
    assert [len(text) for text in received] == sizes


def test_the_spliced_frames_are_those_of_the_models() -> None:
    body = message_body(uuid4(), uuid4(), 'q"uote\\', "ünï \U0001f600", datetime.now(UTC))
    messages = [placed(offset, body) for offset in (3, 4)]
    joined = frames.Joined(
        room=uuid4(), channel_name='n"', live_stream_id=None, you=None, offset=4, epoch="e", recovered=True,
        chatters=2, rules=OPEN, pinned=None, poll=None, standing=None, history=(),
    )  # fmt: skip
    for built in (
        frames.messages_frame("e", messages),
        frames.CHAT_FRAMES.gap(Position(4, "e"), [Entry(offset, body) for offset in (3, 4)]),
        frames.joined_frame(joined, messages),
        frames.joined_frame(joined, []),
    ):
        payload = built[4:] if built[1] == 126 else built[2:]
        frame = frames.SERVER_FRAME.validate_json(payload)
        again = json.loads(frame.model_dump_json(exclude_unset=True))
        assert again == json.loads(payload)
