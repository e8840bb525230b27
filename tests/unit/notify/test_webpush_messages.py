"""What a browser shows: plain text of people, on one line, whatever they wrote; never too much for a push message."""

from __future__ import annotations

import json
import unicodedata
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notify.webpush.encryption import PAYLOAD_BYTES_MAX
from notify.webpush.messages import PushMessage, message_of, shown

STREAM = UUID("019a8b3c-0000-7000-8000-00000000abcd")
FANOUT = UUID("019a8b3d-0000-7000-8000-00000000abcd")


def message(*, title: str = "chess", name: str = "ada", kind: str = "stream.started") -> PushMessage:
    return message_of(
        {
            "fanout_id": FANOUT,
            "stream_id": STREAM,
            "kind": kind,
            "channel_name": name,
            "title": title,
            "state": "running",
        }
    )


def test_the_start_of_a_stream() -> None:
    assert json.loads(message().payload) == {
        "title": "ada is live",
        "body": "chess",
        "url": f"/#/watch/{STREAM}",
        "tag": str(FANOUT),
        "icon": "/icon.svg",
    }


def test_a_recording_does_not_wake_anybody() -> None:
    one = message(kind="recording.published")
    assert json.loads(one.payload)["title"] == "A recording of ada"
    assert (one.urgency, message().urgency) == ("normal", "high")


def test_the_topic_is_the_stream_in_the_characters_that_a_topic_may_have() -> None:
    assert message().topic == "AZqLPAAAcACAAAAAAACrzQ"
    assert message(kind="recording.published").topic == message().topic


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ('"}, "url": "https://evil.example"', '"}, "url": "https://evil.example"'),
        ("two\nlines\r\nand\ttabs", "two lines and tabs"),
        ("bell\x07 nul\x00 escape\x1b[31m", "bell nul escape [31m"),
        ("gpj.\u202eexe", "gpj.exe"),
        ("\u2066hidden\u2069", "hidden"),
        ("line\u2028separator", "line separator"),
        ("half of a pair \ud83d", "half of a pair"),
        ("family 👨‍👩‍👧", "family 👨‍👩‍👧"),
        ("x" * 300, "x" * 199 + "…"),
    ],
)
def test_what_people_write_stays_text(written: str, seen: str) -> None:
    payload = json.loads(message(title=written).payload)
    assert payload["body"] == seen
    assert payload["url"] == f"/#/watch/{STREAM}"


@given(title=st.text(max_size=500), name=st.text(max_size=500))
def test_whatever_they_write_it_fits(title: str, name: str) -> None:
    one = message(title=title, name=name)
    assert len(one.payload) <= PAYLOAD_BYTES_MAX
    assert len(one.short_payload) <= 500
    for text in json.loads(one.payload).values():
        assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in text)


@pytest.mark.parametrize("worst", ['"', "\\", "\U0001f600", "\u0800"])
def test_the_characters_that_take_most_room_fit(worst: str) -> None:
    one = message(title=worst * 500, name=worst * 500)
    assert len(one.payload) <= PAYLOAD_BYTES_MAX
    assert len(one.short_payload) <= 500


def test_a_short_message_has_no_body_and_the_same_tag() -> None:
    short = json.loads(message(title="t" * 100, name="n" * 100).short_payload)
    assert (short["body"], len(short["title"]), short["tag"]) == ("", 40, str(FANOUT))


def test_a_text_is_cut_to_its_length() -> None:
    assert shown("abcdef", 6) == "abcdef"
    assert shown("abcdefg", 6) == "abcde…"
