"""Emotes: a row each in Postgres, an image each in the object store, and no image without a row.

A row is there before its image is stored, and goes after its image: whatever dies in between, somebody finds the row
and settles it (`EmoteKeeping`). A room has the emotes whose rows are ready.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog
from asyncpg import UniqueViolationError

from chat import metrics
from chat.emotes.image import EmoteImage
from chat.emotes.images import CACHE_CONTROL, emote_key
from chat.emotes.problems import EmoteNameTaken, EmoteNotFound, TooManyEmotes
from chat.moderation import access, audit
from chat.rooms.signals import RoomTouched, Signals
from chat.store import QUERIES, touch_room
from runtime.backoff import Backoff
from runtime.ids import uuid7
from runtime.objects import ObjectKind, ObjectStore, ObjectStoreError, StoreUnavailable
from runtime.postgres import Pool
from runtime.tokens import Caller
from runtime.unavailable import PERHAPS_AWAY, is_unavailable

log = structlog.get_logger(__name__)

_AWAY: tuple[type[Exception], ...] = (*PERHAPS_AWAY, ObjectStoreError)

STORING_SECONDS_MAX = 600
LEFTOVERS_PER_ROUND_MAX = 100
ROUND_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Emote:
    """An emote as it is listed."""

    emote_id: UUID
    name: str
    content_type: str
    size_bytes: int
    width_px: int
    height_px: int
    animated: bool
    added_by: UUID
    added_at: datetime


class Emotes:
    """Adds, lists and removes."""

    def __init__(self, pool: Pool, signals: Signals, objects: ObjectStore, *, emotes_max: int) -> None:
        self._pool = pool
        self._signals = signals
        self._objects = objects
        self._emotes_max = emotes_max

    async def add(self, caller: Caller, channel_id: UUID, name: str, image: EmoteImage) -> Emote:
        """Give a room an emote.

        Raises RoomMissing, NotAModerator, EmoteNameTaken, TooManyEmotes, StoreUnavailable.
        """
        emote_id = uuid7()
        await self._announce(emote_id, caller, channel_id, name, image)
        settled = False
        try:
            kind = ObjectKind(image.content_type, CACHE_CONTROL)
            await self._objects.put_bytes(emote_key(emote_id), image.body, kind)
            emote = await self._make_ready(emote_id, caller, channel_id, name)
            settled = True
        finally:
            if not settled:
                await QUERIES.give_emote_up(self._pool, emote_id=emote_id)
        self._signals.touch(channel_id, RoomTouched())
        metrics.emotes_added.inc()
        log.info("emote_added", channel_id=str(channel_id), emote=name, emote_id=str(emote_id))
        return emote

    async def remove(self, caller: Caller, channel_id: UUID, name: str) -> UUID:
        """Take an emote away; its id. Raises RoomMissing, NotAModerator, EmoteNotFound."""
        async with self._pool.acquire() as connection, connection.transaction():
            await access.require(connection, channel_id, caller)
            await touch_room(connection, channel_id)
            row = await QUERIES.remove_emote(connection, channel_id=channel_id, name=name)
            if row is None:
                raise EmoteNotFound(f"the channel has no emote {name}")
            await audit.append(connection, channel_id, caller, "remove-emote", particulars={"name": name})
        emote_id: UUID = row["emote_id"]
        self._signals.touch(channel_id, RoomTouched())
        log.info("emote_removed", channel_id=str(channel_id), emote=name)
        try:
            await self._forget(emote_id)
        except ObjectStoreError as error:
            log.warning("emote_image_left_to_the_next_round", emote_id=str(emote_id), reason=str(error))
        return emote_id

    async def page(self, channel_id: UUID, *, after: str, rows_max: int) -> Sequence[Emote]:
        """A room's emotes by name."""
        rows = await QUERIES.list_emotes(self._pool, channel_id=channel_id, after=after, rows_max=rows_max)
        return [Emote(**row) for row in rows]

    async def content_type_of(self, emote_id: UUID) -> str | None:
        """The type of an emote's image, or None when there is no such emote."""
        row = await QUERIES.find_emote(self._pool, emote_id=emote_id)
        return None if row is None else row["content_type"]

    async def settle_leftovers(self) -> int:
        """Remove images of emotes that are gone, and of uploads whose process is; how many. Raises ObjectStoreError."""
        rows = await QUERIES.find_emote_leftovers(
            self._pool, storing_seconds_max=float(STORING_SECONDS_MAX), rows_max=LEFTOVERS_PER_ROUND_MAX
        )
        for row in rows:
            await self._forget(row["emote_id"])
        return len(rows)

    async def _announce(self, emote_id: UUID, caller: Caller, channel_id: UUID, name: str, image: EmoteImage) -> None:
        """Note what is about to be stored, unless there is no place for it."""
        async with self._pool.acquire() as connection, connection.transaction():
            await access.require(connection, channel_id, caller)
            await QUERIES.lock_room_of_emotes(connection, channel_id=channel_id)
            row = await QUERIES.count_emotes(connection, channel_id=channel_id, name=name)
            if row["taken"]:
                raise EmoteNameTaken(f"name: the channel has an emote {name}")
            if row["emotes"] >= self._emotes_max:
                raise TooManyEmotes(f"a channel has {self._emotes_max} emotes at most", limit=self._emotes_max)
            await QUERIES.add_emote(
                connection,
                emote_id=emote_id,
                channel_id=channel_id,
                name=name,
                content_type=image.content_type,
                size_bytes=len(image.body),
                width_px=image.width_px,
                height_px=image.height_px,
                animated=image.animated,
                added_by=caller.user_id,
            )

    async def _make_ready(self, emote_id: UUID, caller: Caller, channel_id: UUID, name: str) -> Emote:
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                await touch_room(connection, channel_id)
                row = await QUERIES.ready_emote(connection, emote_id=emote_id)
                if row is None:
                    raise StoreUnavailable(f"put {emote_key(emote_id)}", "storing it took too long")
                await audit.append(connection, channel_id, caller, "add-emote", particulars={"name": name})
                return Emote(**row)
        except UniqueViolationError as error:
            raise EmoteNameTaken(f"name: the channel has an emote {name}") from error

    async def _forget(self, emote_id: UUID) -> None:
        await self._objects.delete(emote_key(emote_id))
        await QUERIES.forget_emote(self._pool, emote_id=emote_id)


class EmoteKeeping:
    """Prepares the object store, and settles what was left half done. A service; chat does not wait for it."""

    name = "chat-emote-keeping"

    def __init__(self, store: AbstractAsyncContextManager[ObjectStore], emotes: Emotes) -> None:
        self._store = store
        self._emotes = emotes

    async def run(self) -> None:
        """Settle until cancelled."""
        try:
            await self._patiently_prepare()
            while True:
                await self._round()
                await asyncio.sleep(ROUND_SECONDS)
        finally:
            await self._store.__aexit__(None, None, None)

    async def _patiently_prepare(self) -> None:
        backoff = Backoff(first_seconds=0.2, ceiling_seconds=10.0)
        while True:
            try:
                await self._store.__aenter__()
                return
            except StoreUnavailable as error:
                log.warning("waiting_for_emote_store", reason=error.reason, attempts=backoff.attempts)
                await backoff.wait()

    async def _round(self) -> None:
        try:
            settled = await self._emotes.settle_leftovers()
        except _AWAY as error:
            if not (isinstance(error, ObjectStoreError) or is_unavailable(error)):
                raise
            log.warning("emote_leftovers_wait", reason=str(error) or type(error).__name__)
            return
        if settled:
            log.info("emote_leftovers_settled", images=settled)
