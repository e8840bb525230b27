"""Announcements in the shape that chat services take: Discord, Slack, Telegram, Matrix.

Titles and names are what streamers typed. They are put on one line, cut, and escaped for each service's markup, so that
they can neither format, nor link, nor call anybody.
"""

import html
import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qs, urlsplit

TITLE_CHARACTERS_MAX = 200
NAME_CHARACTERS_MAX = 64

_DISCORD_MARKUP = re.compile(r"([\\*_~`|>#\-\[\]()<:@])")


class Preset(StrEnum):
    """Whose shape an announcement has."""

    DISCORD = "discord"
    SLACK = "slack"
    TELEGRAM = "telegram"
    MATRIX = "matrix"


PRESET_EVENTS = ("stream.started", "recording.published")
"""What is announced; the other events are for programs."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """What is said, in plain text. `lead` is ours; name and title are the streamer's; `link` is a page, or None."""

    name: str
    lead: str
    title: str | None
    link: str | None


def announcement_of(
    event_type: str, stream_id: object, *, name: str | None, title: str | None, public_url: str | None
) -> Announcement:
    """What is said of one of `PRESET_EVENTS`, or that somebody tries it; raises KeyError for other events."""
    lead, page = {
        "stream.started": ("is live", "watch"),
        "recording.published": ("has a new recording", "recording"),
        "webhook.test": ("is trying this webhook: it works", None),
    }[event_type]
    link = f"{public_url.rstrip('/')}/#/{page}/{stream_id}" if public_url and page else None
    shown_title = one_line(title, TITLE_CHARACTERS_MAX) if title else None
    return Announcement(one_line(name or "A channel", NAME_CHARACTERS_MAX), lead, shown_title, link)


def one_line(text: str, characters_max: int) -> str:
    """`text` without line breaks, control and invisible direction characters, cut with an ellipsis."""
    kept = "".join(" " if character.isspace() else character for character in text)
    kept = "".join(character for character in kept if unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co"})
    kept = " ".join(kept.split())
    return kept if len(kept) <= characters_max else kept[: characters_max - 1].rstrip() + "…"


def preset_body(preset: Preset, announcement: Announcement) -> str:
    """What is posted: JSON in the service's shape (Telegram's chat is added when it is posted, from the URL)."""
    return json.dumps(_SHAPES[preset](announcement), ensure_ascii=False, separators=(",", ":"))


def telegram_chat(url: str) -> str | None:
    """The chat that a Telegram URL names in its query; None: it names none."""
    chats = parse_qs(urlsplit(url).query).get("chat_id", [])
    return chats[0] if len(chats) == 1 else None


def _plain(said: Announcement, escape: Callable[[str], str]) -> str:
    lines = [f"{escape(said.name)} {escape(said.lead)}" + (f": {escape(said.title)}" if said.title else "")]
    return "\n".join([*lines, *([said.link] if said.link else [])])


def escape_discord(text: str) -> str:
    """Every mark of Discord's Markdown with a backslash (Discord, "Markdown Text 101"; mentions are off as well)."""
    return _DISCORD_MARKUP.sub(r"\\\1", text)


def escape_slack(text: str) -> str:
    """The three control characters of Slack's text as entities (Slack, "Formatting text for app surfaces")."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def escape_html(text: str) -> str:
    """For Telegram's HTML mode and Matrix's formatted body."""
    return html.escape(text, quote=True)


def _as_html(said: Announcement, line_break: str) -> str:
    title = f": {escape_html(said.title)}" if said.title else ""
    text = f"<b>{escape_html(said.name)}</b> {escape_html(said.lead)}{title}"
    return text + (f'{line_break}<a href="{escape_html(said.link)}">{escape_html(said.link)}</a>' if said.link else "")


def _discord(said: Announcement) -> Mapping[str, Any]:
    return {"content": _plain(said, escape_discord), "allowed_mentions": {"parse": []}}


def _slack(said: Announcement) -> Mapping[str, Any]:
    # without markup what is typed as *bold* stays as typed
    return {"text": _plain(said, escape_slack), "mrkdwn": False, "link_names": False}


def _telegram(said: Announcement) -> Mapping[str, Any]:
    return {"text": _as_html(said, "\n"), "parse_mode": "HTML"}


def _matrix(said: Announcement) -> Mapping[str, Any]:
    return {
        "msgtype": "m.text",
        "body": _plain(said, str),
        "format": "org.matrix.custom.html",
        "formatted_body": _as_html(said, "<br>"),
        "m.mentions": {},  # nobody, whatever the text looks like (Matrix 1.7, MSC3952)
    }


_SHAPES: Mapping[Preset, Callable[[Announcement], Mapping[str, Any]]] = {
    Preset.DISCORD: _discord,
    Preset.SLACK: _slack,
    Preset.TELEGRAM: _telegram,
    Preset.MATRIX: _matrix,
}
