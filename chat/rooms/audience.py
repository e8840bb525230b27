"""The members of a room who get the same bytes: one encoding, one lane.

Joins and leaves take effect between flushes. A flush goes to one shard of members after the other, with a turn of the
event loop in between, so that a big room delays others by milliseconds only. A small room needs none.
"""

import asyncio
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from chat.brokers.broker import Entry, Position
from chat.rooms.entries import Said, read_body
from chat.sockets.fanout import Receiver, broadcast
from chat.sockets.frames import Frame

MEMBERS_PER_SHARD = 1_000
MEMBERS_WITHOUT_TURN_MAX = 100
"""So few are written to in less time than a turn of the event loop is worth."""


class Encoding(Protocol):
    """How what happens in a room is written for its members. One object for each kind of client and room."""

    hides_own: bool
    """Whether members are not told what they said themselves (`Seat.said`)."""

    def messages(self, epoch: str, entries: Sequence[Entry], leave_out: Set[UUID] = frozenset()) -> bytes:
        """Entries, all at once, without the messages ``leave_out``; b"" if that leaves nothing."""
        ...

    def gap(self, position: Position, newest: Sequence[Entry]) -> bytes:
        """Some entries may be missing before this position; these are the newest there are."""
        ...

    def notice(self, notice: Frame) -> bytes:
        """Anything else; b"" if this encoding has no word for it."""
        ...


@dataclass(eq=False, slots=True)
class Seat:
    """One member's place in a room."""

    member: Receiver
    encoding: Encoding
    user_id: UUID | None = None
    """Null for those who only read."""
    username: str = ""
    moderates: bool = False
    """Sees what moderators see, and without the room's delay."""
    touched: Callable[[], None] = field(default=lambda: None)
    """Told when what this person may do has changed, or the room has ended."""
    _said: set[UUID] | None = field(default=None, init=False)

    @property
    def said(self) -> set[UUID]:
        """What this very member is saying, for encodings that do not tell it again; an id leaves as it passes."""
        if self._said is None:
            self._said = set()  # not before: it is larger than the seat
        return self._said

    @property
    def is_saying(self) -> bool:
        """Whether anything is in `said`."""
        return bool(self._said)


@dataclass(frozen=True, slots=True)
class GapNotice:
    """Members may have missed something before ``position``."""

    position: Position
    newest: tuple[Entry, ...]


Notice = Frame | GapNotice


class Audience:
    """Seats of one encoding in one lane."""

    def __init__(self, encoding: Encoding) -> None:
        self.encoding = encoding
        self._seats: dict[Seat, None] = {}

    def __len__(self) -> int:
        return len(self._seats)

    def add(self, seat: Seat) -> None:
        """Let a member in, from the next flush on."""
        self._seats[seat] = None

    def remove(self, seat: Seat) -> bool:
        """Let a member go; False if it was not here."""
        if seat not in self._seats:
            return False
        del self._seats[seat]
        return True

    def seats(self) -> list[Seat]:
        """Who is here now."""
        return list(self._seats)

    def encode(self, epoch: str, notices: Sequence[Notice], entries: Sequence[Entry]) -> bytes:
        """Notices and then entries, as all members get them."""
        parts = [self._notice(notice) for notice in notices]
        if entries:
            parts.append(self.encoding.messages(epoch, entries))
        return b"".join(parts)

    def encode_without(self, said: Set[UUID], epoch: str, notices: Sequence[Notice], entries: Sequence[Entry]) -> bytes:
        """The same without these messages."""
        parts = [self._notice(notice) for notice in notices]
        parts.append(self.encoding.messages(epoch, entries, leave_out=said))
        return b"".join(parts)

    def _notice(self, notice: Notice) -> bytes:
        if isinstance(notice, GapNotice):
            return self.encoding.gap(notice.position, notice.newest)
        return self.encoding.notice(notice)


@dataclass(frozen=True, slots=True)
class Flight:
    """Bytes on their way to the members who were there when they were made."""

    seats: list[Seat]
    blob: bytes
    own: dict[Seat, bytes]
    """Other bytes for those who said something of it themselves."""

    async def land(self) -> None:
        """Write to all, shard by shard."""
        for start in range(0, len(self.seats), MEMBERS_PER_SHARD):
            shard = self.seats[start : start + MEMBERS_PER_SHARD]
            self._write(shard)
            if len(shard) > MEMBERS_WITHOUT_TURN_MAX:
                await asyncio.sleep(0)

    def land_at_once(self) -> None:
        """Write to all, without a turn of the event loop in between: for few members."""
        self._write(self.seats)

    def _write(self, shard: Sequence[Seat]) -> None:
        if self.own:
            self._write_apart(shard)
        else:
            broadcast([seat.member for seat in shard], self.blob)

    def _write_apart(self, shard: Sequence[Seat]) -> None:
        for seat in shard:
            blob = self.own.get(seat, self.blob)
            if blob:
                seat.member.write(blob)


def take_off(
    audience: Audience, epoch: str, notices: Sequence[Notice], entries: Sequence[Entry], blob: bytes
) -> Flight:
    """What leaves for an audience now: ``blob`` for all; other bytes for authors if the encoding hides their own."""
    seats = audience.seats()
    own: dict[Seat, bytes] = {}
    authors = [seat for seat in seats if seat.is_saying] if audience.encoding.hides_own and entries else []
    passing = _said_in(entries) if authors else set()
    for seat in authors:
        hidden = seat.said & passing
        if hidden:
            seat.said.difference_update(hidden)
            own[seat] = audience.encode_without(hidden, epoch, notices, entries)
    return Flight(seats, blob, own)


def _said_in(entries: Sequence[Entry]) -> set[UUID]:
    return {body.message_id for body in (read_body(entry.body) for entry in entries) if isinstance(body, Said)}
