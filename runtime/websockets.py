"""What services with WebSockets share: whose pages may connect, why connections end, and a text frame as bytes."""

import struct
from enum import IntEnum
from typing import ClassVar, Self

from runtime.problems import Forbidden

_TEXT_FINAL = 0x81  # FIN set, opcode 1 (RFC 6455 section 5.2); servers do not mask


RECONNECT_RANGE = range(4000, 4500)


class CloseCodes(IntEnum):
    """Base of a socket's close codes, `NAME = code, sentence`; the sentence travels as the close reason.

    The range is the answer: 4000-4499 come back after a random wait, 4500-4999 do not: the same client would be refused
    again. RFC 6455 section 7.4.2 leaves 4000-4999 to applications.
    """

    reason: str

    def __new__(cls, code: int, reason: str) -> Self:
        member = int.__new__(cls, code)
        member._value_ = code
        member.reason = reason
        return member

    @property
    def reconnect(self) -> bool:
        """Whether a client should connect again."""
        return self in RECONNECT_RANGE


class OriginNotAllowed(Forbidden):
    """A browser page of another site tried to connect."""

    type: ClassVar[str] = "origin-not-allowed"
    title: ClassVar[str] = "Pages of this origin may not connect"


class AllowedOrigins:
    """The origins whose pages may connect: settings values such as `https://a.example,https://b.example`; * is all."""

    def __init__(self, *settings: str) -> None:
        self._origins = comma_separated(",".join(settings))

    def allow(self, origin: str | None) -> bool:
        """Whether a request with this Origin header may connect.

        Only browsers send it, and only they carry other people's pages; other clients prove nothing by a header.
        """
        return origin is None or "*" in self._origins or origin.lower() in self._origins


def comma_separated(text: str) -> frozenset[str]:
    """The parts of a settings value such as `a,b`, lower case, without blanks."""
    return frozenset(part.strip().lower().rstrip("/") for part in text.split(",") if part.strip())


def text_frame(payload: bytes) -> bytes:
    """One whole unmasked, uncompressed WebSocket text frame around a UTF-8 payload."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", _TEXT_FINAL, size) + payload
    if size < 65_536:
        return struct.pack("!BBH", _TEXT_FINAL, 126, size) + payload
    return struct.pack("!BBQ", _TEXT_FINAL, 127, size) + payload
