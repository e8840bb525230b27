"""What chat erases of a person: their room, what they said elsewhere, and what others' rooms know of them.

In rooms of others their messages are deleted as by a moderator, so that open clients forget them; rows of the log go
altogether. What they did there as a moderator stays, without saying who it was. A hold keeps what was said.
"""

from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from asyncpg import Record

from chat.errors import BrokerUnavailable
from chat.moderation.telling import Telling
from chat.people.room_keys import RoomKeys
from chat.rooms.entries import Cleared, to_body
from eventbus.outbox import Outbox
from runtime.erasure import EraseStep, NotYet
from runtime.postgres import Pool, load_queries

QUERIES = load_queries("chat")

ROWS_PER_BATCH_MAX: Final = 1_000
ROOMS_PER_LOOK_MAX: Final = 200
MESSAGES_PER_LOOK_MAX: Final = 5_000
BROKER_WAIT_SECONDS: Final = 5.0
IMAGES_WAIT_SECONDS: Final = 5.0
HOLD_WAIT_SECONDS: Final = 300.0
FIRST_ID: Final = UUID(int=0)


class PersonErasing:
    """The steps, in the order in which they are done."""

    def __init__(self, pool: Pool, outbox: Outbox, telling: Telling, room_keys: RoomKeys) -> None:
        self._pool = pool
        self._outbox = outbox
        self._telling = telling
        self._room_keys = room_keys

    @property
    def steps(self) -> Sequence[EraseStep]:
        """For the worker."""
        return (
            self.empty_room,
            self.erase_called_name,
            self.erase_name,
            self.erase_room,
            self.erase_elsewhere,
            self.look_for_remains,
        )

    async def empty_room(self, user_id: UUID) -> AsyncGenerator[None, None]:
        """A gateway that has not sent everybody away yet shows the room empty; then Redis keeps nothing of it."""
        async with self._outbox.transaction() as transaction:
            cleared = Cleared(cleared_at=datetime.now(UTC))
            untold = await self._telling.note(transaction.connection, user_id, to_body(cleared))
        await self._telling.tell(untold)
        try:
            await self._room_keys.drop(user_id)
        except BrokerUnavailable as error:
            raise NotYet(f"Redis is away: {error}", wait_seconds=BROKER_WAIT_SECONDS) from error
        yield

    async def erase_room(self, user_id: UUID) -> AsyncGenerator[None, None]:
        """Its log, its people, its emotes; the images are removed by whoever keeps them."""
        erased = 1
        while erased:
            async with self._pool.acquire() as connection, connection.transaction():
                await QUERIES.keep_log_holds_out(connection)
                erased = await QUERIES.erase_room(connection, channel_id=user_id, rows_max=ROWS_PER_BATCH_MAX)
            yield

    async def erase_called_name(self, user_id: UUID) -> AsyncGenerator[None, None]:
        """Where somebody called them, in whatever room: `@` stays."""
        while await QUERIES.erase_called_name(self._pool, user_id=user_id, rows_max=ROWS_PER_BATCH_MAX):
            yield

    async def erase_elsewhere(self, user_id: UUID) -> AsyncGenerator[None, None]:
        """Room by room: answers to them first, for their own messages show where to look."""
        after, held = FIRST_ID, False
        while True:
            rooms: Sequence[Record] = await QUERIES.list_rooms_after(
                self._pool, user_id=user_id, after=after, rows_max=ROOMS_PER_LOOK_MAX
            )
            if not rooms:
                break
            for room in rooms:
                if room["spoke"] or room["acted"]:
                    async for _ in self._erase_from_messages(user_id, room["channel_id"]):
                        yield
                if room["spoke"] and room["held"]:
                    held = True
                elif room["spoke"]:
                    async for _ in self._erase_messages(user_id, room["channel_id"]):
                        yield
            ids = [room["channel_id"] for room in rooms]
            await QUERIES.erase_from_rooms(self._pool, user_id=user_id, channel_ids=ids)
            after = ids[-1]
            yield
        if held:
            raise NotYet("a hold keeps what they said", wait_seconds=HOLD_WAIT_SECONDS)

    async def _erase_from_messages(self, user_id: UUID, room: UUID) -> AsyncGenerator[None, None]:
        after: UUID | None = FIRST_ID
        while after is not None:
            after = await QUERIES.erase_from_messages(
                self._pool, user_id=user_id, channel_id=room, after=after, rows_max=MESSAGES_PER_LOOK_MAX
            )
            yield

    async def _erase_messages(self, user_id: UUID, room: UUID) -> AsyncGenerator[None, None]:
        while True:
            async with self._outbox.transaction() as transaction:
                await QUERIES.keep_log_holds_out(transaction.connection)
                if await QUERIES.is_log_held(transaction.connection, channel_id=room):
                    raise NotYet("a hold keeps what they said", wait_seconds=HOLD_WAIT_SECONDS)
                erased: int = await QUERIES.erase_messages_of(
                    transaction.connection, user_id=user_id, channel_id=room, rows_max=ROWS_PER_BATCH_MAX
                )
                if not erased:
                    return
                cleared = Cleared(user_id=user_id, cleared_at=datetime.now(UTC))
                untold = await self._telling.note(transaction.connection, room, to_body(cleared))
            await self._telling.tell(untold)
            yield

    async def erase_name(self, user_id: UUID) -> AsyncGenerator[None, None]:
        """The name, and with it passwords for IRC; whoever is here by one of these is sent away."""
        await QUERIES.erase_person(self._pool, user_id=user_id)
        yield

    async def look_for_remains(self, user_id: UUID) -> AsyncGenerator[None, None]:
        """Not done while images are being removed, or a hold keeps the log."""
        row = await QUERIES.find_remains(self._pool, user_id=user_id)
        if row["log"]:
            raise NotYet("a hold keeps the log of the room", wait_seconds=HOLD_WAIT_SECONDS)
        if row["room"]:
            raise NotYet("images of emotes are left", wait_seconds=IMAGES_WAIT_SECONDS)
        yield
