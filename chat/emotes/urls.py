"""Where images of emotes are for everybody, and where their names stand in a text."""

import re
from collections.abc import Mapping
from typing import Final
from uuid import UUID

from chat.rooms.entries import EmoteUse

NAME_PATTERN: Final = r"^[A-Za-z0-9_]{3,25}$"
_WORD: Final = re.compile(r"\S+")


def emote_url(emote_id: UUID | str) -> str:
    """A path on the public origin. Another image is another emote, so it may be kept for ever."""
    return f"/api/chat/emotes/{emote_id}"


def emotes_in(text: str, urls: Mapping[str, str]) -> tuple[EmoteUse, ...]:
    """The emotes that whole words of a text name, in the order of their first places."""
    if not urls:
        return ()
    places: dict[str, list[tuple[int, int]]] = {}
    for word in _WORD.finditer(text):
        if word.group() in urls:
            places.setdefault(word.group(), []).append(word.span())
    return tuple(EmoteUse(name=name, url=urls[name], places=tuple(found)) for name, found in places.items())
