"""What services with WebSockets share: whose pages may connect, and a text frame as bytes for any number of clients."""

import struct
from typing import ClassVar

from runtime.problems import Forbidden

_TEXT_FINAL = 0x81  # FIN set, opcode 1 (RFC 6455 section 5.2); servers do not mask


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
