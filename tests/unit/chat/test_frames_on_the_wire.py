"""What is built to be sent is right by a reader of RFC 6455 that shares nothing with the builder."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.sockets import frames
from runtime.websockets import text_frame
from tests.integration.chat.rfc6455 import TEXT, Breach, ServerFrames


@pytest.mark.parametrize("size", [0, 1, 124, 125, 126, 127, 65_534, 65_535, 65_536, 65_537, 300_000])
def test_a_frame_of_every_size_is_one_frame_with_the_shortest_length(size: int) -> None:
    payload = b"x" * size
    (frame,) = ServerFrames().feed(text_frame(payload))
    assert (frame.opcode, frame.payload) == (TEXT, payload)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.lists(st.text(max_size=200), max_size=5), st.integers(1, 50))
def test_frames_in_a_row_are_read_whole_from_any_pieces(texts: list[str], piece: int) -> None:
    wire = b"".join(text_frame(text.encode()) for text in texts)
    reader = ServerFrames()
    read = [frame for at in range(0, len(wire), piece) for frame in reader.feed(wire[at : at + piece])]
    assert [frame.payload.decode() for frame in read] == texts
    assert reader.pending_bytes == 0


BREACHES = {
    "masked": b"\x81\x81\x00\x00\x00\x00x",
    "a reserved bit": b"\xc1\x01x",
    "a fragment": b"\x01\x01x",
    "a continuation": b"\x80\x01x",
    "binary": b"\x82\x01x",
    "a length in more bytes than it needs": b"\x81\x7e\x00\x01x",
    "a long ping": b"\x89\x7e\x00\x7e" + b"x" * 126,
    "something after the close": b"\x88\x00\x81\x01x",
    "not UTF-8": b"\x81\x01\xff",
}


@pytest.mark.parametrize("name", BREACHES)
def test_the_reader_itself_refuses_what_a_server_may_not_send(name: str) -> None:
    with pytest.raises((Breach, UnicodeDecodeError)):
        ServerFrames().feed(BREACHES[name])


FIELDS: dict[str, list[object]] = {
    "room": [None, 1, "main", ""],
    "token": ["", "x" * 3_001, 5],
    "since": [1, {"offset": -1, "epoch": "e"}, {"offset": 1}, {"offset": 2**53, "epoch": "e"}],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in FIELDS.items() for value in values])
def test_a_wrong_field_is_named(field: str, value: object) -> None:
    join = {"type": "join", "room": "0199aa00-0000-7000-8000-000000000001", field: value}
    with pytest.raises(frames.BadFrame) as bad:
        frames.read_client_frame(json.dumps(join))
    assert bad.value.detail.startswith(field)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.text(min_size=1, max_size=500))
def test_what_is_taken_comes_out_as_it_went_in(text: str) -> None:
    try:
        frame = frames.read_client_frame(json.dumps({"type": "send", "id": "a", "text": text}))
    except frames.BadFrame as bad:
        assert bad.detail.startswith("text")
        return
    assert isinstance(frame, frames.Send)
    assert frames.read_client_frame(frame.model_dump_json()) == frame
    assert frame.text == text.strip()
