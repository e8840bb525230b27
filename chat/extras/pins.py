"""The one message that is pinned above the others of a room, for a while or until it is taken down."""

import json
from datetime import datetime
from typing import Annotated, ClassVar
from uuid import UUID

from asyncpg import Record
from pydantic import BaseModel, ConfigDict, Field

from chat.brokers.broker import Broker
from chat.errors import BrokerUnavailable
from chat.moderation import access, audit
from chat.moderation.audit import Target
from chat.problems import NotAModerator
from chat.rooms.entries import Said, read_body, redacted
from chat.rooms.roompath import ChannelPath, RoomMissing
from chat.rooms.signals import RoomTouched, Signals
from chat.store import QUERIES, touch_room
from runtime.endpoints import endpoint
from runtime.postgres import Connection, Pool
from runtime.problems import NotFound, Unavailable
from runtime.tokens import Caller

PIN_SECONDS_MIN = 10
PIN_SECONDS_MAX = 30 * 86_400
NEWEST_MESSAGES_MAX = 500


class MessageNotFound(NotFound):
    """The room has no such message: it never had, it was deleted, or it is no longer kept."""

    type: ClassVar[str] = "message-not-found"
    title: ClassVar[str] = "There is no such message"


class NothingPinned(NotFound):
    """Nothing is pinned in the room."""

    type: ClassVar[str] = "nothing-pinned"
    title: ClassVar[str] = "Nothing is pinned here"


class NewPin(BaseModel):
    """What is to be pinned, and for how long."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    message_id: UUID = Field(description="One of the newest messages of the room, or of its log.")
    seconds: Annotated[int, Field(ge=PIN_SECONDS_MIN, le=PIN_SECONDS_MAX)] | None = Field(
        default=None, description="How long it stays; null: until it is taken down."
    )


class PinView(BaseModel):
    """What is pinned."""

    model_config = ConfigDict(frozen=True)

    message: Said
    pinned_by: UUID
    pinned_at: datetime
    ends_at: datetime | None = Field(description="When it comes down by itself; null: it does not.")


async def unpin_gone(
    connection: Connection, channel_id: UUID, *, message_id: UUID | None = None, user_id: UUID | None = None
) -> bool:
    """In the transaction that takes messages away: so is a pinned one of them; whether it was.

    One message, all of one person, or (neither given) all. Signal `RoomTouched` after the commit if it was.
    """
    if message_id is not None:
        row = await QUERIES.unpin_message(connection, channel_id=channel_id, message_ids=[message_id])
    else:
        row = await QUERIES.unpin_author(connection, channel_id=channel_id, user_id=user_id)
    if row is not None:
        await touch_room(connection, channel_id)
    return row is not None


class PinApi:
    """Pinning."""

    tag: ClassVar[str] = "chat"

    def __init__(self, pool: Pool, broker: Broker, signals: Signals) -> None:
        self._pool = pool
        self._broker = broker
        self._signals = signals

    @endpoint("PUT", "/api/chat/{channel_id}/pin", problems=(RoomMissing, NotAModerator, MessageNotFound))
    async def pin_message(self, caller: Caller, path: ChannelPath, body: NewPin) -> PinView:
        """Pin a message of the room above the others, in the place of another. For the streamer and moderators."""
        channel_id = path.channel_id
        await access.require(self._pool, channel_id, caller)
        said = await self._find(channel_id, body.message_id)
        async with self._pool.acquire() as connection, connection.transaction():
            await touch_room(connection, channel_id)
            await QUERIES.pin_message(
                connection,
                channel_id=channel_id,
                message_id=body.message_id,
                said=said.model_dump_json(),
                pinned_by=caller.user_id,
                seconds=body.seconds,
            )
            target = Target(said.user_id, said.username, said.message_id)
            await audit.append(connection, channel_id, caller, "pin", target)
            row = await QUERIES.find_pin(connection, channel_id=channel_id)
        self._signals.touch(channel_id, RoomTouched())
        return PinView(message=said, pinned_by=row["pinned_by"], pinned_at=row["pinned_at"], ends_at=row["ends_at"])

    @endpoint("DELETE", "/api/chat/{channel_id}/pin", problems=(RoomMissing, NotAModerator, NothingPinned))
    async def unpin_message(self, caller: Caller, path: ChannelPath) -> None:
        """Take the pinned message down. For the streamer and moderators."""
        channel_id = path.channel_id
        async with self._pool.acquire() as connection, connection.transaction():
            await access.require(connection, channel_id, caller)
            await touch_room(connection, channel_id)
            row = await QUERIES.unpin(connection, channel_id=channel_id)
            if row is None:
                raise NothingPinned("nothing is pinned in this room")
            await audit.append(connection, channel_id, caller, "unpin", Target(message_id=row["message_id"]))
        self._signals.touch(channel_id, RoomTouched())

    async def _find(self, channel_id: UUID, message_id: UUID) -> Said:
        """The message, from the newest or from the log; raises MessageNotFound, Unavailable."""
        away: BrokerUnavailable | None = None
        try:
            reading = await self._broker.read(channel_id, None, entries_max=NEWEST_MESSAGES_MAX)
        except BrokerUnavailable as error:
            away = error
        else:
            for body in (read_body(entry.body) for entry in redacted(reading.entries)):
                if isinstance(body, Said) and body.message_id == message_id:
                    return body
        row = await QUERIES.find_logged_message(self._pool, channel_id=channel_id, message_id=message_id)
        if row is not None:
            return _logged(row)
        if away is not None:
            raise Unavailable("the newest messages cannot be read now") from away
        raise MessageNotFound("message_id: no such message in this room")


def _logged(row: Record) -> Said:
    """A message of the log, without the words that it answers to: they belong to another one, which may be gone."""
    kept = dict(row)
    particulars = json.loads(kept.pop("particulars"))
    particulars.pop("reply_to", None)
    return Said(**particulars, **kept)
