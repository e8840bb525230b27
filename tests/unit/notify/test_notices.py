"""The notice and its bytes on the wire."""

import json
from datetime import UTC, datetime

from notify.notices import LiveNotice, id_before, least_notice_id
from runtime.ids import uuid7, uuid7_time
from tests.unit.notify.people import notice


def test_a_frame_is_one_event_with_id_and_one_line_of_data_whatever_the_title() -> None:
    told = notice(1).model_copy(update={"title": "two\nlines\r\n\ndata: forged\u2028 and \U0001f600"})
    frame = LiveNotice(told).frame.decode()
    identifier, event, content, *rest = frame.split("\n")
    assert identifier == f"id: {told.notification_id}"
    assert event == "event: notice"
    assert rest == ["", ""]
    assert "\r" not in frame
    assert json.loads(content.removeprefix("data: ")) == json.loads(told.model_dump_json())


def test_the_frame_out_of_order_leaves_the_last_event_id_alone() -> None:
    frame = LiveNotice(notice(1)).frame_out_of_order
    assert frame.startswith(b"event: notice\n")
    assert b"id: " not in frame.split(b"data: ")[0]


def test_a_frame_is_made_once() -> None:
    live = LiveNotice(notice(1))
    assert live.frame is live.frame


def test_the_least_id_of_a_moment_is_below_every_id_made_from_then_on() -> None:
    before = datetime.now(UTC)
    made = uuid7()
    assert least_notice_id(before) <= made
    assert id_before(made, seconds=60) < least_notice_id(before)
    assert uuid7_time(made) >= before.replace(microsecond=before.microsecond // 1_000 * 1_000)


def test_an_id_before_never_falls_below_zero() -> None:
    assert id_before(least_notice_id(datetime(1970, 1, 1, tzinfo=UTC)), seconds=60).int == 0
