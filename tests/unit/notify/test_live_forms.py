"""What the live lane looks like on the wire."""

import json

import pytest

from notify.live_forms import ChunkedEventStream, EventStream, Form, LiveNotice, Socket
from tests.unit.notify.people import live, notice

NASTY = "two\nlines\r\n\ndata: forged\u2028 and \U0001f600"
FORMS = (EventStream(), ChunkedEventStream(), Socket())


def test_an_event_has_an_id_and_one_line_of_data_whatever_the_title() -> None:
    told = notice(1).model_copy(update={"title": NASTY})
    event = LiveNotice(told).event.decode()
    identifier, name, content, *rest = event.split("\n")
    assert identifier == f"id: {told.notification_id}"
    assert name == "event: notice"
    assert rest == ["", ""]
    assert "\r" not in event
    assert json.loads(content.removeprefix("data: ")) == json.loads(told.model_dump_json())


def test_an_event_out_of_order_leaves_the_last_event_id_alone() -> None:
    event = live(1).event_out_of_order
    assert event.startswith(b"event: notice\n")
    assert b"id: " not in event.split(b"data: ")[0]


def test_a_chunk_is_its_size_in_hex_and_an_event() -> None:
    told = LiveNotice(notice(1).model_copy(update={"title": NASTY}))
    for chunk, event in ((told.chunk, told.event), (told.chunk_out_of_order, told.event_out_of_order)):
        size, _, rest = chunk.partition(b"\r\n")
        assert rest == event + b"\r\n"
        assert int(size, 16) == len(event)


def test_a_socket_frame_has_the_same_notice_and_where_to_come_back_from() -> None:
    told = LiveNotice(notice(1).model_copy(update={"title": NASTY}))
    (first, second) = (json.loads(frame[4:]) for frame in (told.frame, told.frame_out_of_order))
    assert first == {
        "type": "notice",
        "last_event_id": str(told.notice.notification_id),
        "notice": json.loads(told.notice.model_dump_json()),
    }
    assert second == {**first, "last_event_id": None}


@pytest.mark.parametrize("form", FORMS)
def test_the_bytes_of_a_notice_are_made_once(form: Form) -> None:
    told = live(1)
    for in_order in (True, False):
        assert form.notice(told, in_order=in_order) is form.notice(told, in_order=in_order)
