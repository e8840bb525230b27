"""What a client may ask for (IRCv3 capability negotiation), and what that changes in the lines it gets."""

from collections.abc import Iterable
from typing import Final

TAGS: Final = "twitch.tv/tags"
COMMANDS: Final = "twitch.tv/commands"
MEMBERSHIP: Final = "twitch.tv/membership"
MESSAGE_TAGS: Final = "message-tags"
SERVER_TIME: Final = "server-time"

OFFERED: Final = (COMMANDS, MEMBERSHIP, TAGS, MESSAGE_TAGS, SERVER_TIME)

Capabilities = frozenset[str]


def changed(had: Capabilities, names: Iterable[str]) -> Capabilities | None:
    """What a client has after asking for these (``-name``: no more); None if one of them is not offered."""
    has = set(had)
    for name in names:
        bare = name.removeprefix("-")
        if bare not in OFFERED:
            return None
        if name.startswith("-"):
            has.discard(bare)
        else:
            has.add(bare)
    return frozenset(has)


def normal(capabilities: Capabilities) -> Capabilities:
    """Only what makes a difference to the lines of a room, so that fewer kinds of clients differ."""
    has = set(capabilities) - {MESSAGE_TAGS, MEMBERSHIP}
    if MESSAGE_TAGS in capabilities:
        has.add(TAGS)
    return frozenset(has)
