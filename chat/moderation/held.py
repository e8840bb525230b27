"""Messages that wait for a moderator: held by the gatekeeper, then approved into the room, denied, or too late."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal
from uuid import UUID

import structlog

from chat import metrics
from chat.errors import RoomNotFound, RoomsUnavailable
from chat.moderation import access, audit
from chat.moderation.audit import Target
from chat.moderation.telling import Telling
from chat.problems import HeldMessageNotFound
from chat.rooms.roompath import RoomMissing
from chat.rooms.rooms import Rooms
from chat.rooms.signals import HeldTouched, Signals
from chat.speaking.speaking import Composer, Refused, Saying
from chat.speaking.standing import Standings
from eventbus.outbox import Outbox
from runtime.ids import uuid7
from runtime.postgres import Connection, Pool, load_queries
from runtime.problems import Unavailable
from runtime.tokens import Caller
from runtime.unavailable import PERHAPS_AWAY, is_unavailable

log = structlog.get_logger(__name__)

QUERIES = load_queries("chat")

HELD_OF_PERSON_MAX = 3
HELD_OF_ROOM_MAX = 200
TRY_AGAIN_SECONDS = 60.0

Decision = Literal["approved", "denied"]


@dataclass(frozen=True, slots=True)
class HeldMessage:
    """A message that waits."""

    held_id: UUID
    user_id: UUID
    username: str
    kind: str
    text: str
    term: str
    held_at: datetime
    expires_at: datetime


async def list_held(pool: Pool, channel_id: UUID, *, after: UUID, items_max: int) -> list[HeldMessage]:
    """What waits in a room, the oldest first, after an id."""
    rows = await QUERIES.list_held(pool, channel_id=channel_id, after=after, items_max=items_max)
    return [HeldMessage(**row) for row in rows]


class HeldMessages:
    """Holds and decides. Implements the gatekeeper's `Holding`."""

    def __init__(self, outbox: Outbox, signals: Signals, *, held_seconds: float) -> None:
        self._outbox = outbox
        self._signals = signals
        self._held_seconds = held_seconds

    async def hold(self, room: UUID, speaker: Caller, saying: Saying, term: str) -> None:
        """Keep it, once for a ``send_id``; raises Refused when it was denied already, or too many wait."""
        try:
            async with self._outbox.transaction() as transaction:
                if await self._hold(transaction.connection, room, speaker, saying, term):
                    transaction.after_commit(lambda: self._signals.touch(room, HeldTouched()))
                    metrics.held.labels("held").inc()
        except PERHAPS_AWAY as error:
            if not is_unavailable(error):
                raise
            raise Refused(
                "unavailable", "a moderator has to look at this first, and that is not possible now"
            ) from error

    async def _hold(self, connection: Connection, room: UUID, speaker: Caller, saying: Saying, term: str) -> bool:
        await QUERIES.moderate_alone(connection, channel_id=room)  # what waits is counted
        before = await QUERIES.find_hold(connection, channel_id=room, user_id=speaker.user_id, send_id=saying.send_id)
        if before is not None:
            if before["decision"] in ("denied", "expired"):
                raise Refused("blocked-term", "no moderator let this message through")
            return False
        waiting = await QUERIES.count_held(connection, channel_id=room, user_id=speaker.user_id)
        if waiting["of_person"] >= HELD_OF_PERSON_MAX:
            raise Refused(
                "rate-limited", f"{HELD_OF_PERSON_MAX} of your messages wait for a moderator", TRY_AGAIN_SECONDS
            )
        if waiting["of_room"] >= HELD_OF_ROOM_MAX:
            raise Refused("rate-limited", "too many messages wait for a moderator", TRY_AGAIN_SECONDS)
        await QUERIES.hold_message(
            connection,
            held_id=uuid7(),
            channel_id=room,
            user_id=speaker.user_id,
            username=speaker.name,
            send_id=saying.send_id,
            kind=saying.kind,
            text=saying.text,
            reply_to=saying.reply_to,
            term=term,
            seconds=self._held_seconds,
        )
        return True


class HeldQueue:
    """What moderators do with held messages."""

    def __init__(
        self,
        pool: Pool,
        outbox: Outbox,
        signals: Signals,
        telling: Telling,
        *,
        rooms: Rooms,
        composer: Composer,
        standings: Standings,
    ) -> None:
        self._pool = pool
        self._outbox = outbox
        self._signals = signals
        self._telling = telling
        self._rooms = rooms
        self._composer = composer
        self._standings = standings

    async def approve(self, caller: Caller, channel_id: UUID, held_id: UUID) -> None:
        """Let it into the room under its sender's name, as said now; once, however often it is approved.

        Raises HeldMessageNotFound when it waits no more, Unavailable when the room cannot be looked up.
        """
        await access.require(self._pool, channel_id, caller)
        row = await QUERIES.find_held(self._pool, channel_id=channel_id, held_id=held_id)
        if row is None:
            raise HeldMessageNotFound("this message waits no more")
        sender = Caller(row["user_id"], row["username"])
        saying = Saying(row["send_id"], row["text"], row["kind"], row["reply_to"])
        body = await self._compose(channel_id, sender, saying)
        async with self._outbox.transaction() as transaction:
            connection = transaction.connection
            await self._decide(connection, caller, channel_id, held_id, "approved")
            untold = await self._telling.note(
                connection, channel_id, body, message_id=f"{sender.user_id}:{saying.send_id}", spooled=True
            )
            transaction.after_commit(lambda: self._signals.touch(channel_id, HeldTouched()))
        await self._telling.tell(untold)
        metrics.held.labels("approved").inc()

    async def deny(self, caller: Caller, channel_id: UUID, held_id: UUID) -> None:
        """Drop it; raises HeldMessageNotFound."""
        async with self._outbox.transaction() as transaction:
            await self._decide(transaction.connection, caller, channel_id, held_id, "denied")
            transaction.after_commit(lambda: self._signals.touch(channel_id, HeldTouched()))
        metrics.held.labels("denied").inc()

    async def _compose(self, channel_id: UUID, sender: Caller, saying: Saying) -> bytes:
        try:
            room = await self._rooms.open(channel_id)
            standing = await self._standings.find(channel_id, sender.user_id)
        except RoomNotFound as error:
            raise RoomMissing(f"no channel has the id {channel_id}") from error
        except RoomsUnavailable as error:
            raise Unavailable("the room cannot be looked up now") from error
        try:
            return await self._composer.compose(room, sender, standing, saying)
        except Refused:
            # what it answers to is gone meanwhile
            return await self._composer.compose(room, sender, standing, replace(saying, reply_to=None))

    async def _decide(
        self, connection: Connection, caller: Caller, channel_id: UUID, held_id: UUID, decision: Decision
    ) -> None:
        await access.require(connection, channel_id, caller)
        row = await QUERIES.find_held(connection, channel_id=channel_id, held_id=held_id)
        if row is None or not await QUERIES.decide_held(
            connection, channel_id=channel_id, held_id=held_id, decision=decision, decided_by=caller.user_id
        ):
            raise HeldMessageNotFound("this message waits no more")
        await audit.append(
            connection,
            channel_id,
            caller,
            "approve-held" if decision == "approved" else "deny-held",
            Target(row["user_id"], row["username"]),
            particulars={"text": row["text"], "term": row["term"]},
        )
