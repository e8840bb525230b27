"""The scan of frame headers agrees with a second reading of RFC 6455, however the bytes are cut."""

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.sockets.closecodes import CloseCode
from chat.sockets.frame_guard import FrameGuard, FrameScan, Pace
from tests.integration.chat.rfc6455 import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, client_frame, close_frame

MESSAGE_BYTES_MAX = 300


def endless() -> Pace:
    return Pace(1e9, lambda: 0.0)


@dataclass(frozen=True)
class Given:
    """One frame as it was asked for, and its bytes."""

    opcode: int
    fin: bool
    rsv: int
    unmasked: bool
    length_bytes: int
    size: int
    payload: bytes

    @property
    def wire(self) -> bytes:
        return client_frame(
            self.payload, self.opcode, fin=self.fin, rsv=self.rsv, unmasked=self.unmasked,
            length_bytes=self.length_bytes,
        )  # fmt: skip


@st.composite
def frames(draw: st.DrawFn) -> Given:
    """Mostly right, and wrong in every way."""
    opcode = draw(st.sampled_from([TEXT, BINARY, CONTINUATION, CONTINUATION, CLOSE, PING, PONG, 3, 11]))
    payload = draw(st.binary(max_size=160))
    if opcode == CLOSE and draw(st.booleans()):
        payload = draw(st.integers(900, 5_100)).to_bytes(2, "big") + payload[:20]
    shortest = 0 if len(payload) < 126 else 2
    length_bytes = draw(st.sampled_from([shortest, shortest, shortest, 2, 8]))
    return Given(
        opcode,
        draw(st.sampled_from([True, True, False])),
        draw(st.sampled_from([0, 0, 0, 0, 0, 0, 1, 4])),
        draw(st.sampled_from([False] * 9 + [True])),
        max(length_bytes, shortest),
        len(payload),
        payload,
    )


def expected(sequence: list[Given]) -> tuple[int, CloseCode | None]:
    """How many frames are in order, and what is wrong with the next."""
    gathered: int | None = None
    for number, one in enumerate(sequence):
        control = one.opcode >= 8
        wrong = (
            one.rsv
            or one.unmasked
            or one.opcode in (3, 11)
            or (control and (not one.fin or one.length_bytes))
            or (one.opcode == CONTINUATION and gathered is None)
            or (one.opcode in (TEXT, BINARY) and gathered is not None)
            or (one.length_bytes == 2 and one.size < 126)
            or one.length_bytes == 8
            or (one.opcode == CLOSE and not _closes_well(one.payload))
        )
        if wrong:
            return number, CloseCode.PROTOCOL_ERROR
        if not control:
            gathered = (gathered or 0) + one.size
            if gathered > MESSAGE_BYTES_MAX:
                return number, CloseCode.MESSAGE_TOO_BIG
            gathered = None if one.fin else gathered
    return len(sequence), None


def _closes_well(payload: bytes) -> bool:
    if not payload:
        return True
    code = int.from_bytes(payload[:2], "big")
    known = 1000 <= code <= 1014 and code not in (1004, 1005, 1006)
    return len(payload) > 1 and (known or 3000 <= code <= 4999)


@settings(max_examples=400, derandomize=True, deadline=None)
@given(st.lists(frames(), max_size=8), st.lists(st.integers(1, 40), min_size=1, max_size=6))
def test_the_scan_finds_the_same_as_the_rules_however_the_bytes_are_cut(sequence: list[Given], cuts: list[int]) -> None:
    good, broken = expected(sequence)
    wire = b"".join(one.wire for one in sequence)
    scan, at, passed, turn = FrameScan(MESSAGE_BYTES_MAX, endless()), 0, 0, 0
    while at < len(wire) and scan.broken is None:
        piece = wire[at : at + cuts[turn % len(cuts)]]
        passed += scan.take(piece)
        at += len(piece)
        turn += 1
    assert scan.broken is broken
    in_order = sum(len(one.wire) for one in sequence[:good])
    assert in_order <= passed < in_order + 15 + 2 if broken else passed == len(wire)
    whole = FrameScan(MESSAGE_BYTES_MAX, endless())
    assert (whole.take(wire), whole.broken) == (in_order if broken is not None else len(wire), broken) or (
        broken is CloseCode.PROTOCOL_ERROR and sequence[good].opcode == CLOSE
    )


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 65_537])
def test_every_form_of_length_is_read(size: int) -> None:
    scan = FrameScan(65_536, endless())
    wire = client_frame(b"x" * size) + client_frame("after")
    assert (scan.take(wire), scan.broken) == ((len(wire), None) if size <= 65_536 else (0, CloseCode.MESSAGE_TOO_BIG))


def test_a_frame_that_says_it_is_huge_is_refused_by_its_header() -> None:
    for said in (2**31, 2**62, 2**63, 2**64 - 1):
        scan = FrameScan(4_096, endless())
        scan.take(client_frame("", said_length=said))
        assert scan.broken is CloseCode.MESSAGE_TOO_BIG


def test_a_quiet_client_may_send_four_seconds_worth_at_once_and_then_at_its_pace() -> None:
    now = [0.0]
    pace = Pace(10, lambda: now[0])
    assert sum(pace.take() for _ in range(100)) == 40
    now[0] = 0.55
    assert sum(pace.take() for _ in range(100)) == 5
    now[0] = 1_000.0
    assert sum(pace.take() for _ in range(100)) == 40


class Wire(asyncio.Transport):
    """A transport that notes what is done with it."""

    def __init__(self, protocol: asyncio.BaseProtocol) -> None:
        super().__init__()
        self.protocol = protocol
        self.paused = False

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def pause_reading(self) -> None:
        self.paused = True

    def is_closing(self) -> bool:
        return False


@dataclass
class Inner(asyncio.Protocol):
    """What stands behind the guard."""

    calls: list[object] = field(default_factory=list)

    def data_received(self, data: bytes) -> None:
        self.calls.append(data)

    def eof_received(self) -> bool:
        self.calls.append("eof")
        return True

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append(exc)


def test_the_guard_passes_on_what_is_in_order_and_nothing_after() -> None:
    inner = Inner()
    wire, told = Wire(inner), list[CloseCode]()
    guard = FrameGuard(wire, FrameScan(4_096, endless()))
    good = client_frame("{}") + close_frame(1000)
    guard.data_received(good + client_frame("{}", rsv=1) + client_frame("never"))
    guard.data_received(client_frame("never either"))
    guard.tell(told.append)
    assert (inner.calls, told, wire.paused) == ([good], [CloseCode.PROTOCOL_ERROR], True)


def test_an_empty_pong_is_heard_and_counted_and_goes_no_further() -> None:
    """The answers of thousands of idle clients wake nobody. Bytes that look like one within a frame belong to that."""
    inner = Inner()
    wire, told = Wire(inner), list[CloseCode]()
    guard = FrameGuard(wire, FrameScan(4_096, Pace(1, lambda: 0.0)))
    guard.tell(told.append)
    pong = client_frame("", PONG)
    text = client_frame("x" * 20)
    split = text[:-6], pong  # its last bytes happen to read like a pong
    not_empty = client_frame("not empty", PONG)
    guard.heard_at = 0.0
    for piece in (pong, *split, not_empty):
        guard.data_received(piece)
    assert inner.calls == [*split, not_empty]
    assert guard.heard_at > 0
    assert not told
    for _ in range(2):
        guard.data_received(pong)
    assert told == [CloseCode.TOO_MANY_FRAMES]


def test_the_guard_is_not_in_the_way_of_anything_else() -> None:
    inner = Inner()
    guard = FrameGuard(Wire(inner), FrameScan(4_096, endless()))
    guard.pause_writing()
    guard.resume_writing()
    assert guard.eof_received()
    lost = OSError()
    guard.connection_lost(lost)
    assert inner.calls == ["pause", "resume", "eof", lost]
