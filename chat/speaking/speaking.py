"""Says something in a room, whoever brings it (chat socket, IRC): may they, in which words, at which place."""

import asyncio
from dataclasses import dataclass, field
from typing import Literal, Protocol
from uuid import UUID

import structlog

from chat import metrics
from chat.brokers.broker import Allowance, Broker, Conditions, Position
from chat.errors import BrokerUnavailable, RoomsUnavailable, SentBefore, SentTooOften
from chat.rooms.facts import RoomFacts
from chat.rooms.room import Room
from chat.sockets.frames import ErrorCode
from chat.speaking.standing import STANDING_BELIEVED_SECONDS, Standing, Standings
from runtime.ids import uuid7
from runtime.tokens import Caller

log = structlog.get_logger(__name__)

LOOK_UPS_MAX = 3
"""In a row, while it is heard again and again that somebody's standing changed."""


class Refused(Exception):
    """Something is not said. ``code`` is for programs, ``detail`` for people."""

    def __init__(self, code: ErrorCode, detail: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(detail)
        self.code: ErrorCode = code
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class Saying:
    """What somebody wants to say. ``send_id`` is their own: the same again is the same message."""

    send_id: str
    text: str
    kind: Literal["message", "action", "announcement"] = "message"
    reply_to: UUID | None = None
    message_id: UUID = field(default_factory=uuid7)
    """The id of what is said, if it is said by this and not before."""


@dataclass
class Speaker:
    """Somebody who is logged in, in one room."""

    caller: Caller
    standing: Standing | None = None
    """None while it could not be looked up."""
    looked_up_at: float = float("-inf")
    looked_up_resyncs: int = -1
    paced_until: dict[Allowance, float] = field(default_factory=dict)
    """Until when an allowance is known to be used up; other rules are other allowances."""


class Gatekeeper(Protocol):
    """Decides whether something may be said."""

    async def admit(self, facts: RoomFacts, speaker: Caller, standing: Standing, saying: Saying) -> Conditions:
        """What must hold over all gateways for it to be published; raises Refused."""
        ...


class Composer(Protocol):
    """Makes the entry of what is said."""

    async def compose(self, room: Room, speaker: Caller, standing: Standing, saying: Saying) -> bytes:
        """The entry's body (`entries.to_body`); raises Refused."""
        ...


class Speaking:
    """Takes what people say to the broker. One for the process."""

    def __init__(self, broker: Broker, standings: Standings, gatekeeper: Gatekeeper, composer: Composer) -> None:
        self._broker = broker
        self._standings = standings
        self._gatekeeper = gatekeeper
        self._composer = composer

    async def introduce(self, room: Room, caller: Caller) -> Speaker:
        """Somebody joins. Their standing stays unknown while it cannot be looked up: then they only read."""
        speaker = Speaker(caller)
        await self.look_up(room, speaker)
        return speaker

    async def look_up(self, room: Room, speaker: Speaker) -> Standing | None:
        """Find what they may do now; what was known stays if that is not possible."""
        for _ in range(LOOK_UPS_MAX):
            resyncs, changes = room.resyncs, room.standing_changes
            try:
                standing = await self._standings.find(room.room_id, speaker.caller.user_id)
            except RoomsUnavailable:
                log.info("chat_standing_not_looked_up", room=str(room.room_id), user_id=str(speaker.caller.user_id))
                return speaker.standing
            if room.standing_changes == changes:
                speaker.standing, speaker.looked_up_at, speaker.looked_up_resyncs = standing, _now(), resyncs
                return standing
        speaker.standing, speaker.looked_up_at = standing, float("-inf")  # the next message looks again
        return standing

    async def say(self, room: Room, speaker: Speaker, saying: Saying) -> Position:
        """Say it; the same ``send_id`` again is answered with the same place. Raises Refused."""
        if not self._broker.connected:
            raise Refused("unavailable", "chat is not available now; repeat with the same id")
        standing = await self._standing(room, speaker)
        conditions = await self._gatekeeper.admit(room.facts, speaker.caller, standing, saying)
        _check_pace(speaker, conditions)
        body = await self._composer.compose(room, speaker.caller, standing, saying)
        with metrics.publish_seconds.time():
            position = await self._publish(room.room_id, speaker, saying, body, conditions)
        metrics.published.inc()
        return position

    async def _standing(self, room: Room, speaker: Speaker) -> Standing:
        old = _now() - speaker.looked_up_at > STANDING_BELIEVED_SECONDS or speaker.looked_up_resyncs != room.resyncs
        standing = await self.look_up(room, speaker) if old else speaker.standing
        if standing is None:
            raise Refused("unavailable", "who may write cannot be looked up now; repeat with the same id")
        return standing

    async def _publish(
        self, room_id: UUID, speaker: Speaker, saying: Saying, body: bytes, conditions: Conditions
    ) -> Position:
        message_id = f"{speaker.caller.user_id}:{saying.send_id}"
        try:
            return (await self._broker.publish(room_id, message_id, body, conditions)).position
        except SentTooOften as error:
            used_up = next(one for one in conditions.allowances if one.name == error.allowance_name)
            speaker.paced_until = {used_up: _now() + error.retry_after_seconds}
            raise _too_often(error.allowance_name, error.retry_after_seconds) from error
        except SentBefore as error:
            raise Refused("said-before", "this room wants every message to be different") from error
        except BrokerUnavailable as error:
            log.warning("chat_publish_failed", reason=str(error))
            raise Refused("unavailable", "chat is not available now; repeat with the same id") from error


def _check_pace(speaker: Speaker, conditions: Conditions) -> None:
    """Refuse what is known to be too early without asking the broker."""
    for allowance in conditions.allowances:
        until = speaker.paced_until.get(allowance, 0.0)
        if _now() < until:
            raise _too_often(allowance.name, until - _now())


def _too_often(allowance_name: str, seconds: float) -> Refused:
    if allowance_name == "slow-mode":
        return Refused("slow-mode", "slow mode: wait before the next message", seconds)
    return Refused("rate-limited", "too many messages in a minute", seconds)


def _now() -> float:
    return asyncio.get_running_loop().time()
