"""Why the gateway closes a connection, and whether the client should come back.

The range is the answer: 4000-4499 reconnect (with the last position, after a random wait), 4500-4999 do not: the same
client would be refused again. RFC 6455 section 7.4.2 leaves 4000-4999 to applications; the two below are its own, for
clients that break its rules, and these need not come back either.
"""

from enum import IntEnum

RECONNECT_RANGE = range(4000, 4500)


class CloseCode(IntEnum):
    """The codes, each with the sentence that travels as the close reason."""

    reason: str

    def __new__(cls, code: int, reason: str) -> "CloseCode":
        member = int.__new__(cls, code)
        member._value_ = code
        member.reason = reason
        return member

    DRAINING = 4000, "this gateway is going away"
    TOO_SLOW = 4001, "the client did not read what it was sent"
    UNAVAILABLE = 4002, "chat is not available now"
    STANDING_CHANGED = 4003, "what you see of this room changed"
    JOIN_TIMEOUT = 4500, "no room was joined in time"
    TOO_MANY_BAD_FRAMES = 4501, "too many frames were refused"
    TOO_MANY_FRAMES = 4502, "too many frames in too short a time"
    TOO_MANY_OF_USER = 4503, "this account has as many connections as it may"
    ROOM_GONE = 4504, "this channel was deleted"
    PROTOCOL_ERROR = 1002, "a frame breaks RFC 6455"
    MESSAGE_TOO_BIG = 1009, "a message is larger than 4 KiB"

    @property
    def reconnect(self) -> bool:
        """Whether a client should connect again."""
        return self in RECONNECT_RANGE


PROTOCOL_CLOSE_CODES = {
    1007: "a text message, or the reason of a close, is not UTF-8",
}
"""What the WebSocket layer itself closes with, for the documentation. Do not reconnect after any of these."""
