"""WebSocket frames by the letter of RFC 6455, written apart from the gateway.

What a client sends, right or wrong, and a reader that refuses whatever a server may not send.
"""

import os
import struct
from dataclasses import dataclass

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


def masked(payload: bytes, mask: bytes) -> bytes:
    """Section 5.3; the same again takes the mask off."""
    if not payload:
        return b""
    stream = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(payload), "big")


def client_frame(
    payload: bytes | str,
    opcode: int = TEXT,
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = None,
    unmasked: bool = False,
    length_bytes: int | None = None,
    said_length: int | None = None,
) -> bytes:
    """A frame of a client. Everything that RFC 6455 forbids can be asked for.

    Args:
        length_bytes: 0, 2 or 8 bytes of extended length, instead of as few as do.
        said_length: what the header says, instead of the payload's length.
    """
    payload = payload.encode() if isinstance(payload, str) else payload
    mask = os.urandom(4) if mask is None else mask
    said = len(payload) if said_length is None else said_length
    if length_bytes is None:
        length_bytes = 0 if said < 126 else 2 if said < 65_536 else 8
    flag = {0: said, 2: 126, 8: 127}[length_bytes]
    head = struct.pack("!BB", (0x80 if fin else 0) | rsv << 4 | opcode, (0 if unmasked else 0x80) | flag)
    head += said.to_bytes(length_bytes, "big") if length_bytes else b""
    return head + payload if unmasked else head + mask + masked(payload, mask)


def close_frame(code: int | None, reason: bytes | str = b"") -> bytes:
    """A client's close frame."""
    reason = reason.encode() if isinstance(reason, str) else reason
    return client_frame(b"" if code is None else struct.pack("!H", code) + reason, CLOSE)


class Breach(AssertionError):
    """The server sent what it may not."""


@dataclass(frozen=True)
class ServerFrame:
    """A frame of the server, taken apart."""

    opcode: int
    payload: bytes

    @property
    def close_code(self) -> int | None:
        """Of a close frame, if it has one."""
        return struct.unpack_from("!H", self.payload)[0] if len(self.payload) >= 2 else None


class ServerFrames:
    """Reads a server's bytes, in whatever pieces they come; raises Breach at the first that is not as we promise.

    Beyond the RFC: text frames and control frames only, none fragmented, nothing after a close frame.
    """

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._closed = False

    def feed(self, received: bytes) -> list[ServerFrame]:
        """The frames that are whole now."""
        self._bytes += received
        frames: list[ServerFrame] = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    @property
    def pending_bytes(self) -> int:
        """Of a frame that is not whole yet."""
        return len(self._bytes)

    def _next(self) -> ServerFrame | None:
        if len(self._bytes) < 2:
            return None
        first, second = self._bytes[0], self._bytes[1]
        _demand(first & 0x80, "a fragment")
        _demand(not first & 0x70, "reserved bits")
        _demand(not second & 0x80, "masked")
        opcode = first & 0x0F
        _demand(opcode in (TEXT, CLOSE, PING, PONG), f"opcode {opcode}")
        _demand(not self._closed, "something after a close frame")
        at, size = 2, second & 0x7F
        if size >= 126:
            _demand(opcode < 8, "a control frame of more than 125 bytes")
            width = 2 if size == 126 else 8
            if len(self._bytes) < 2 + width:
                return None
            at, size = 2 + width, int.from_bytes(self._bytes[2 : 2 + width], "big")
            _demand(size >= (126 if width == 2 else 65_536), "a length in more bytes than it needs")
            _demand(size < 2**63, "a length of 2^63 or more")
        if len(self._bytes) < at + size:
            return None
        payload = bytes(self._bytes[at : at + size])
        del self._bytes[: at + size]
        if opcode == TEXT:
            payload.decode()  # raises
        elif opcode == CLOSE:
            self._closed = True
            _demand(size != 1, "a close frame of one byte")
            payload[2:].decode()
        return ServerFrame(opcode, payload)


def _demand(holds: object, otherwise: str) -> None:
    if not holds:
        raise Breach(otherwise)
