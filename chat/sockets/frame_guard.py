"""Watches what a client sends, frame header by frame header, before anything else looks at it.

The WebSocket layer behind it is lenient in places and takes as many frames as come. This holds a client to RFC 6455
section 5 (masked, no reserved bits, shortest length, fragments in their order), a message to its size over all its
fragments, and the client to a number of frames a second, control frames included. Whoever breaks one of these is read
no further: its bytes stay in the kernel while it is told why.
"""

import asyncio
import time
from collections.abc import Callable
from typing import cast

from chat.sockets.closecodes import CloseCode

BURST_SECONDS = 4.0
"""So many seconds' worth of frames may come at once, from a client that was quiet before."""

_FIN, _RESERVED, _OPCODE = 0x80, 0x70, 0x0F
_MASKED, _LENGTH = 0x80, 0x7F
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_OPCODES = frozenset({_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG})
_CONTROL = 0x8  # and above
_CLOSE_CODES = frozenset({*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)})  # RFC 6455 section 7.4
_CONTROL_BYTES_MAX = 125
_MASK_BYTES = 4
_EXTENDED_BYTES = {126: 2, 127: 8}
_EMPTY_PONG = bytes((_FIN | _PONG, _MASKED))
_EMPTY_PONG_BYTES = 2 + _MASK_BYTES
_SHORTEST = {126: 126, 127: 65_536}


class Pace:
    """A bucket of frames that fills steadily: `take` is false when the client has used it up."""

    __slots__ = ("_at", "_burst", "_clock", "_left", "_per_second")  # one for each connection

    def __init__(self, per_second: float, clock: Callable[[], float], *, burst_seconds: float = BURST_SECONDS) -> None:
        self._per_second = per_second
        self._burst = max(1.0, per_second * burst_seconds)
        self._clock = clock
        self._left = self._burst
        self._at = clock()

    def take(self) -> bool:
        """Count one frame."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class FrameScan:
    """Follows the frame headers in a client's bytes, in whatever pieces they come."""

    __slots__ = (
        "_code",
        "_code_left",
        "_code_mask",
        "_header",
        "_header_bytes",
        "_message_bytes",
        "_message_bytes_max",
        "_pace",
        "_payload_left",
        "broken",
    )

    def __init__(self, message_bytes_max: int, pace: Pace) -> None:
        self._message_bytes_max = message_bytes_max
        self._pace = pace
        self._header = bytearray()
        self._header_bytes = 2
        self._payload_left = 0
        self._message_bytes: int | None = None  # of an unfinished message, so far
        self._code = bytearray()  # of a close frame, masked
        self._code_left = 0
        self._code_mask = b""
        self.broken: CloseCode | None = None

    @property
    def between_frames(self) -> bool:
        """Whether the next byte begins a frame."""
        return not (self._payload_left or self._header)

    def take(self, received: bytes) -> int:
        """How many of the bytes may be passed on: all, or those before the frame that broke a rule (see `broken`)."""
        at, end = 0, len(received)
        while at < end:
            if self._payload_left:
                step = min(self._payload_left, end - at)
                if self._code_left:
                    self._read_code(received[at : at + step])
                    if self.broken is not None:
                        return at
                self._payload_left -= step
                at += step
                continue
            start = at - len(self._header)
            at = self._fill_header(received, at)
            if len(self._header) == self._header_bytes:
                self._finish_header()
            if self.broken is not None:
                return max(start, 0)
        return end

    def _fill_header(self, received: bytes, at: int) -> int:
        """Take what belongs to the header; after its second byte its size is known, and most of what can be wrong."""
        while at < len(received) and len(self._header) < self._header_bytes:
            self._header.append(received[at])
            at += 1
            if len(self._header) == 2:
                self._header_bytes = 2 + _EXTENDED_BYTES.get(self._header[1] & _LENGTH, 0) + _MASK_BYTES
                self.broken = self._check(self._header[0], self._header[1])
                if self.broken is not None:
                    return at
        return at

    def _check(self, first: int, second: int) -> CloseCode | None:
        if not self._pace.take():
            return CloseCode.TOO_MANY_FRAMES
        opcode = first & _OPCODE
        if first & _RESERVED or opcode not in _OPCODES or not second & _MASKED:
            return CloseCode.PROTOCOL_ERROR
        if opcode >= _CONTROL:
            whole = bool(first & _FIN) and second & _LENGTH <= _CONTROL_BYTES_MAX
            return None if whole else CloseCode.PROTOCOL_ERROR
        continues = self._message_bytes is not None
        return None if continues == (opcode == _CONTINUATION) else CloseCode.PROTOCOL_ERROR

    def _finish_header(self) -> None:
        first, flag = self._header[0], self._header[1] & _LENGTH
        extended = self._header[2:-_MASK_BYTES]
        size = int.from_bytes(extended, "big") if extended else flag
        self._code_mask = bytes(self._header[-_MASK_BYTES:])
        self._header.clear()
        self._header_bytes = 2
        if size < _SHORTEST.get(flag, 0):
            self.broken = CloseCode.PROTOCOL_ERROR
        elif first & _OPCODE < _CONTROL:
            message_bytes = (self._message_bytes or 0) + size
            if message_bytes > self._message_bytes_max:
                self.broken = CloseCode.MESSAGE_TOO_BIG
            self._message_bytes = None if first & _FIN else message_bytes
        elif first & _OPCODE == _CLOSE and size:
            self._code_left = 2
            if size == 1:
                self.broken = CloseCode.PROTOCOL_ERROR
        self._payload_left = size

    def _read_code(self, payload: bytes) -> None:
        """Take the first two bytes of a close frame; some codes are never sent."""
        self._code += payload[: self._code_left]
        self._code_left = 2 - len(self._code)
        if not self._code_left:
            code = int.from_bytes(bytes(a ^ b for a, b in zip(self._code, self._code_mask, strict=False)), "big")
            self._code.clear()
            if code not in _CLOSE_CODES:
                self.broken = CloseCode.PROTOCOL_ERROR


class FrameGuard(asyncio.Protocol):
    """Stands between a socket and the protocol that serves it; everything but received bytes passes unchanged.

    Put it in place before the upgrade is answered: until then a client may send no frame (RFC 6455 section 4.1), and
    what one sends nevertheless is not watched.
    """

    __slots__ = ("_inner", "_report", "_scan", "_stopped", "_transport", "heard_at")

    def __init__(self, transport: asyncio.Transport, scan: FrameScan) -> None:
        self._transport = transport
        self._inner = cast("asyncio.Protocol", transport.get_protocol())
        self._scan = scan
        self._report: Callable[[CloseCode], None] | None = None
        self._stopped = False
        self.heard_at = time.monotonic()
        """When the client last sent anything (see Heartbeat)."""
        transport.set_protocol(self)

    def tell(self, report: Callable[[CloseCode], None]) -> None:
        """Whom to tell, once, when the client broke a rule; at once if it already has."""
        self._report = report
        if self._scan.broken is not None:
            report(self._scan.broken)

    def data_received(self, data: bytes) -> None:
        """Pass on what is in order; an empty pong alone says no more than that the client is there."""
        self.heard_at = time.monotonic()
        if self._stopped:
            return
        is_pong = len(data) == _EMPTY_PONG_BYTES and data.startswith(_EMPTY_PONG) and self._scan.between_frames
        passed = self._scan.take(data)
        if passed and not is_pong:
            self._inner.data_received(data if passed == len(data) else data[:passed])
        if self._scan.broken is not None:
            self._stopped = True
            if not self._transport.is_closing():
                self._transport.pause_reading()
            if self._report is not None:
                self._report(self._scan.broken)

    def eof_received(self) -> bool | None:
        """Pass on."""
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        """Pass on."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass on."""
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on, and let go of who is told."""
        self._report = None
        self._inner.connection_lost(exc)
