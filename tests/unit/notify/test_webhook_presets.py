"""Announcements for chat services: their shape, and titles that cannot format, link, or call anybody."""

import html
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notify.webhooks.presets import (
    NAME_CHARACTERS_MAX,
    TITLE_CHARACTERS_MAX,
    Announcement,
    Preset,
    announcement_of,
    one_line,
    preset_body,
    telegram_chat,
)
from notify.webhooks.urls import UrlWrong, parse_url

EVIL = '@everyone <@1> **b** [x](http://evil) <script>alert(1)</script> & <!channel> <https://evil|x> `c` _i_ ||s|| "q"'
STREAM = "0192aaaa-0000-7000-8000-000000000002"


def said(title: str = EVIL, name: str = "ada") -> Announcement:
    return announcement_of("stream.started", STREAM, name=name, title=title, public_url="https://live.example.org/")


def body(preset: Preset, announcement: Announcement) -> dict[str, Any]:
    posted: dict[str, Any] = json.loads(preset_body(preset, announcement))
    return posted


def test_discord_escapes_its_markdown_and_mentions_nobody() -> None:
    posted = body(Preset.DISCORD, said())
    assert posted["allowed_mentions"] == {"parse": []}
    text = posted["content"].removesuffix(f"\nhttps://live.example.org/#/watch/{STREAM}")
    for mark in "*_`|[]()<>@~#":
        assert not re.search(rf"(?<!\\){re.escape(mark)}", text), f"{mark} is not escaped in {text}"
    assert re.sub(r"\\(.)", r"\1", text) == f"ada is live: {EVIL}"


def test_slack_sees_no_control_characters_and_no_markup() -> None:
    posted = body(Preset.SLACK, said())
    assert "<" not in posted["text"]
    assert ">" not in posted["text"]
    assert not re.search(r"&(?!amp;|lt;|gt;)", posted["text"])
    assert posted["mrkdwn"] is False
    assert html.unescape(posted["text"]).startswith(f"ada is live: {EVIL}\n")


def test_telegram_gets_html_with_our_tags_alone() -> None:
    posted = body(Preset.TELEGRAM, said())
    assert posted["parse_mode"] == "HTML"
    assert set(re.findall(r"</?(\w+)", posted["text"])) == {"b", "a"}
    assert "&lt;script&gt;" in posted["text"]


def test_matrix_gets_both_forms_and_mentions_nobody() -> None:
    posted = body(Preset.MATRIX, said())
    assert (posted["msgtype"], posted["format"]) == ("m.text", "org.matrix.custom.html")
    assert posted["m.mentions"] == {}
    assert posted["body"].startswith(f"ada is live: {EVIL}\n")
    assert set(re.findall(r"</?(\w+)", posted["formatted_body"])) == {"b", "a", "br"}


@given(title=st.text(max_size=400), name=st.text(max_size=100))
def test_whatever_is_typed_is_one_short_line_and_json(title: str, name: str) -> None:
    announcement = announcement_of("stream.started", STREAM, name=name, title=title, public_url=None)
    assert len(announcement.title or "") <= TITLE_CHARACTERS_MAX
    assert len(announcement.name) <= NAME_CHARACTERS_MAX
    for preset in Preset:
        posted = body(preset, announcement)
        text = posted.get("content") or posted.get("text") or posted["body"]
        assert len(text.splitlines()) == 1
        assert len(text) < 2_000, "more than Discord takes"
        for tag in re.findall(r"<[^>]*>?", posted.get("formatted_body", "")):
            assert tag in ("<b>", "</b>")


def test_what_cannot_be_seen_is_left_out() -> None:
    assert one_line("a\u202eb\u200b\x00\nc\td\u2028e", 50) == "ab c d e"
    assert one_line("x" * 60, 50) == "x" * 49 + "…"


def test_recordings_and_tests_are_announced_and_nothing_else() -> None:
    recording = announcement_of("recording.published", STREAM, name=None, title=None, public_url="https://l.example")
    assert body(Preset.SLACK, recording)["text"] == (
        f"A channel has a new recording\nhttps://l.example/#/recording/{STREAM}"
    )
    trial = announcement_of("webhook.test", STREAM, name="ada", title=None, public_url="https://l.example")
    assert "it works" in body(Preset.DISCORD, trial)["content"]
    with pytest.raises(KeyError):
        announcement_of("stream.ended", STREAM, name="ada", title=None, public_url=None)


def test_telegrams_chat_is_in_its_url() -> None:
    assert telegram_chat("https://api.telegram.org/bot1:x/sendMessage?chat_id=-100") == "-100"
    assert telegram_chat("https://api.telegram.org/bot1:x/sendMessage") is None


@pytest.mark.parametrize(
    ("url", "provider", "shown"),
    [
        ("https://example.org", "example.org:443", "https://example.org/…"),
        ("https://Example.org:8443/short?x=1", "example.org:8443", "https://Example.org:8443/…"),
        (
            "https://discord.com/api/webhooks/123456/abcdefghijklmnop",
            "discord.com:443",
            "https://discord.com/…mnop",
        ),
        ("https://[2001:db8::1]:444/x", "[2001:db8::1]:444", "https://[2001:db8::1]:444/…"),
    ],
)
def test_a_url_is_shown_masked(url: str, provider: str, shown: str) -> None:
    parsed = parse_url(url, None)
    assert (parsed.provider, parsed.shown) == (provider, shown)


@pytest.mark.parametrize(
    ("url", "preset"),
    [
        ("https://", None),
        ("https://example.org:99999/", None),
        ("mailto:a@example.org", None),
        ("https://api.telegram.org/bot1:x/sendMessage", Preset.TELEGRAM),
        ("https://matrix.example.org/_matrix/client/v3/rooms/!r:x", Preset.MATRIX),
        ("https://matrix.example.org/rooms/!r:x/send/m.room.message?access_token=t", Preset.MATRIX),
    ],
)
def test_a_url_that_does_not_suit_is_refused(url: str, preset: Preset | None) -> None:
    with pytest.raises(UrlWrong) as refused:
        parse_url(url, preset)
    assert "bot1:x" not in str(refused.value)
