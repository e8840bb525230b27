"""What a browser shows: the text of a push message, plain, short, and without anything that could pass for more."""

import json
import unicodedata
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID

TITLE_CHARACTERS_MAX = 100
BODY_CHARACTERS_MAX = 200
SHORT_CHARACTERS_MAX = 40
"""Of the title of a message that a push service found too large; it has no body."""
ICON = "/icon.svg"
# They reorder what stands beside them (Unicode, UAX #9), so that a title could show as another one.
REORDERING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# Controls, halves of surrogate pairs (which no UTF-8 can hold), and the separators of lines and paragraphs.
NOT_SHOWN = frozenset({"Cc", "Cs", "Zl", "Zp"})


@dataclass(frozen=True)
class PushMessage:
    """What is told, before it is encrypted for anybody; its bytes are made once, however many browsers get them."""

    message_id: UUID
    stream_id: UUID
    title: str
    body: str
    urgency: str
    """RFC 8030, section 5.3."""

    @cached_property
    def topic(self) -> str:
        """The stream, whose earlier message is replaced: 22 characters; RFC 8030, section 5.4, takes 32."""
        return urlsafe_b64encode(self.stream_id.bytes).rstrip(b"=").decode()

    @cached_property
    def payload(self) -> bytes:
        """What the service worker of the page reads; below the limit of a push message whatever the texts are."""
        return self._json(shown(self.title, TITLE_CHARACTERS_MAX), shown(self.body, BODY_CHARACTERS_MAX))

    @cached_property
    def short_payload(self) -> bytes:
        """For a push service that takes less: some 200 bytes."""
        return self._json(shown(self.title, SHORT_CHARACTERS_MAX), "")

    def _json(self, title: str, body: str) -> bytes:
        """Texts of people are JSON strings and nothing else: the page's worker shows them as text."""
        message = {
            "title": title,
            "body": body,
            "url": f"/#/watch/{self.stream_id}",
            "tag": str(self.message_id),
            "icon": ICON,
        }
        return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()


def message_of(notice: Mapping[str, Any]) -> PushMessage:
    """The message that a fan-out tells; `notice` has its columns."""
    name = notice["channel_name"]
    live = notice["kind"] == "stream.started"
    return PushMessage(
        message_id=notice["fanout_id"],
        stream_id=notice["stream_id"],
        title=f"{name} is live" if live else f"A recording of {name}",
        body=notice["title"],
        urgency="high" if live else "normal",
    )


def shown(text: str, characters_max: int) -> str:
    """`text` as one line of visible characters, cut where it is longer."""
    visible = "".join(
        " " if unicodedata.category(character) in NOT_SHOWN else character
        for character in text
        if character not in REORDERING
    )
    line = " ".join(visible.split())
    return line if len(line) <= characters_max else f"{line[: characters_max - 1]}…"
