"""Why the gateway closes a connection, and whether the client should come back (with its last position)."""

from runtime.websockets import CloseCodes


class CloseCode(CloseCodes):
    """The codes. The two below 4000 are RFC 6455's own, for clients that break its rules; they need not come back."""

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


PROTOCOL_CLOSE_CODES = {
    1007: "a text message, or the reason of a close, is not UTF-8",
}
"""What the WebSocket layer itself closes with, for the documentation. Do not reconnect after any of these."""
