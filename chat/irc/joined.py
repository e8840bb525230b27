"""The rooms that one IRC client is in: joining, leaving, and what it may do there."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog

from chat import metrics
from chat.errors import RoomNotFound, RoomsUnavailable
from chat.irc import replies, tags
from chat.irc.capabilities import MEMBERSHIP, Capabilities
from chat.irc.channels import FindRoom
from chat.irc.client import Client
from chat.irc.encoding import Encodings, RoomLines
from chat.irc.lines import line
from chat.rooms.audience import Seat
from chat.rooms.room import Room
from chat.rooms.rooms import Rooms
from chat.speaking.speaking import Speaker, Speaking
from chat.speaking.standing import Standing

log = structlog.get_logger(__name__)

CHANNELS_MAX: Final = 100
ROOM_WAIT_SECONDS: Final = 30.0
NAMES_MAX: Final = 1_000
SAYING_MAX: Final = 100


@dataclass(eq=False)
class Joined:
    """One room that the client is in."""

    name: str
    room: Room
    seat: Seat
    speaker: Speaker | None
    looking_up: "asyncio.Task[None] | None" = None

    @property
    def channel(self) -> str:
        """What the client calls it."""
        return f"#{self.name}"

    def saying(self, message_id: UUID) -> None:
        """This client says that, so it is not told it."""
        if len(self.seat.said) >= SAYING_MAX:
            self.seat.said.clear()  # none of them passed: the room has stood still
        self.seat.said.add(message_id)


@dataclass(frozen=True, slots=True)
class JoinParts:
    """What joining takes; the same for all clients."""

    find_room: FindRoom
    rooms: Rooms
    speaking: Speaking
    encodings: Encodings


class JoinedRooms:
    """Where one client is."""

    def __init__(self, client: Client, parts: JoinParts) -> None:
        self._client = client
        self._parts = parts
        self._joined: dict[str, Joined] = {}

    def __iter__(self) -> Iterator[Joined]:
        return iter(self._joined.values())

    def find(self, name: str | None) -> Joined | None:
        """The room of this name, if the client is in it."""
        return None if name is None else self._joined.get(name)

    async def join(self, name: str) -> None:
        """Enter; the client is told how that went."""
        channel = f"#{name}"
        if name in self._joined:
            return
        if len(self._joined) >= CHANNELS_MAX:
            self._client.numeric("405", channel, text=f"At most {CHANNELS_MAX} channels at once")
            return
        try:
            room_id = await self._parts.find_room(name)
            if room_id is None:
                raise RoomNotFound(UUID(int=0))
            room = await self._parts.rooms.open(room_id)
            async with asyncio.timeout(ROOM_WAIT_SECONDS):
                await room.ready()
        except RoomNotFound:
            self._not_found(channel)
            return
        except (RoomsUnavailable, TimeoutError):
            self._client.notice(channel, "This channel cannot be joined now; try again.", "msg_unavailable")
            return
        await self._enter(name, room)

    def part(self, name: str) -> None:
        """Leave."""
        joined = self._joined.pop(name, None)
        if joined is None:
            self._client.numeric("442", f"#{name}", text="You are not in that channel")
            return
        self._vacate(joined)
        self._client.own_line("PART", joined.channel)

    def _leave_gone(self, joined: Joined) -> None:
        """The channel was deleted: nothing of it stays on the screen, and the client is out of it."""
        if self._joined.pop(joined.name, None) is None:
            return
        self._vacate(joined)
        if self._client.knows_commands:
            self._client.tell(line("CLEARCHAT", joined.channel))
        self._client.notice(joined.channel, "This channel was deleted.", "msg_channel_suspended")
        self._client.own_line("PART", joined.channel)

    def leave_all(self) -> None:
        """The client is gone."""
        for joined in self._joined.values():
            self._vacate(joined)
        self._joined.clear()

    def change_capabilities(self, capabilities: Capabilities) -> None:
        """From here on the client is told everything in another way."""
        for joined in self:
            joined.room.leave(joined.seat)
            self._give_back(joined)
        self._client.capabilities = capabilities
        for joined in self:
            joined.seat.encoding = self._take_encoding(joined.room)
            joined.room.join(joined.seat)

    def names(self, joined: Joined) -> bytes:
        """353 and 366: who is in the room, as far as this gateway knows; without membership only oneself."""
        people = [self._client.nick]
        if MEMBERSHIP in self._client.capabilities:
            here = {seat.username for seats in joined.room.people.values() for seat in seats}
            people += sorted(here - {self._client.nick})[: NAMES_MAX - 1]
        return replies.names(self._client.nick, joined.channel, people)

    def user_state(self, joined: Joined, message_id: UUID | None = None) -> bytes:
        """`USERSTATE`: who one is in the room oneself; b"" for readers, and for who does not know the command."""
        if joined.speaker is None or not self._client.knows_commands:
            return b""
        standing = joined.speaker.standing or Standing()
        shown = [*tags.of_person(self._client.nick, standing.role), ("emote-sets", "0")]
        if message_id is not None:
            shown.append(("id", str(message_id)))
        return line("USERSTATE", joined.channel, tags=shown if self._client.tagged else ())

    # ------------------------------------------------------------------------------------- entering and leaving

    async def _enter(self, name: str, room: Room) -> None:
        guest = self._client.guest
        caller = None if guest is None else guest.caller
        speaker = None if caller is None else await self._parts.speaking.introduce(room, caller)
        # No await from here to the end: the room's messages begin where these lines end.
        seat = Seat(self._client.wire.member, self._take_encoding(room))
        joined = Joined(name, room, seat, speaker)
        seat.touched = lambda: self._touched(joined)
        if caller is not None:
            seat.user_id, seat.username = caller.user_id, caller.name
        seat.moderates = _moderates(speaker)
        self._joined[name] = joined
        self._client.own_line("JOIN", joined.channel)
        self._client.tell(self.names(joined))
        self._client.tell(self.user_state(joined))
        if self._client.knows_commands:
            state = tags.of_rules(room.room_id, room.facts.rules) if self._client.tagged else ()
            self._client.tell(line("ROOMSTATE", joined.channel, tags=state))
        if not room.available:
            self._client.notice(joined.channel, "Chat is not available now; it comes back by itself.")
        room.join(seat)
        metrics.joins.labels("fresh").inc()

    def _not_found(self, channel: str) -> None:
        if self._client.knows_commands:
            self._client.notice(channel, "This channel does not exist.", "msg_room_not_found")
        else:
            self._client.numeric("403", channel, text="No such channel")

    def _vacate(self, joined: Joined) -> None:
        joined.room.leave(joined.seat)
        if joined.looking_up is not None:
            joined.looking_up.cancel()
        self._give_back(joined)

    def _take_encoding(self, room: Room) -> RoomLines:
        return self._parts.encodings.take(room.facts, self._client.capabilities, self._client.wire.wrap)

    def _give_back(self, joined: Joined) -> None:
        self._parts.encodings.give_back(joined.room.room_id, self._client.capabilities, self._client.wire.wrap)

    # ------------------------------------------------------------------------------------- standing

    def _touched(self, joined: Joined) -> None:
        """Leave a room that has ended, or look again what this person may do.

        A change during a look-up is found by that.
        """
        if joined.room.ended:
            self._leave_gone(joined)
        elif joined.looking_up is None or joined.looking_up.done():
            joined.looking_up = asyncio.create_task(self._look_up(joined))

    async def _look_up(self, joined: Joined) -> None:
        speaker = joined.speaker
        if speaker is None:
            return
        speaker.looked_up_at = float("-inf")  # whatever comes of this, the next message looks again
        before = speaker.standing
        standing = await self._parts.speaking.look_up(joined.room, speaker)
        if standing is None or self._joined.get(joined.name) is not joined:
            return
        self._reseat(joined, moderates=standing.moderates)
        if before is None or before.role != standing.role:
            self._client.tell(self.user_state(joined))

    def _reseat(self, joined: Joined, *, moderates: bool) -> None:
        if joined.room.promote(joined.seat, moderates=moderates):
            return
        # The room has a delay, and messages are on their way between the two kinds of members: IRC has no positions
        # that the client could come back with, so it is told.
        joined.room.leave(joined.seat)
        joined.seat.moderates = moderates
        joined.room.join(joined.seat)
        self._client.notice(joined.channel, "Some messages may be missing here, or come twice.", "msg_gap")


def _moderates(speaker: Speaker | None) -> bool:
    return speaker is not None and speaker.standing is not None and speaker.standing.moderates
