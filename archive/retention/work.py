"""Does what the plan says: moves recordings to the colder class, and deletes those that are too old."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from archive import metrics
from archive.library.deletion import mark_deleted
from archive.retention import store as retention_store
from archive.retention.plan import Action, Aged, Policy, Step, Tally, Terms, plan
from archive.retention.settings import RetentionSettings
from archive.rounds import Round
from archive.store import QUERIES
from eventbus.outbox import Outbox
from events import DeleteReason
from runtime.objects import ObjectMissing, ObjectStore
from runtime.postgres import Pool

log = structlog.get_logger(__name__)

# What is large and never rewritten; playlists and pictures are read for every list and stay where they are.
COOLED_ENDINGS = (".ts", ".mp4")
COOLED_AT_ONCE = 16

Keep = Callable[[], Awaitable[None]]
"""Told now and then that the work goes on."""


@dataclass(slots=True)
class Done:
    """What a round did."""

    steps: list[Step] = field(default_factory=list)

    def tally(self, action: Action) -> Tally:
        """How much of one kind."""
        sizes = [step.size_bytes for step in self.steps if step.action == action]
        return Tally(len(sizes), sum(sizes))


async def _nobody_asks() -> None:
    """Nothing."""


class RetentionWork:
    """Plans and does a round of retention."""

    def __init__(
        self,
        pool: Pool,
        outbox: Outbox,
        objects: ObjectStore,
        terms: Terms,
        *,
        has_colder_class: bool,
        undo_seconds: float,
        rows_max: int,
    ) -> None:
        self._pool = pool
        self._outbox = outbox
        self._objects = objects
        self._terms = terms
        self._has_colder_class = has_colder_class
        self._undo = timedelta(seconds=undo_seconds)
        self._rows_max = rows_max

    async def policy(self) -> Policy:
        """What counts now."""
        return await retention_store.read_policy(self._pool, self._terms, has_colder_class=self._has_colder_class)

    async def due(self, now: datetime, *, rows_max: int, held: bool = False) -> list[Aged]:
        """The recordings that something is due for, up to ``rows_max`` of each kind: those under a hold, or the others.

        Each is there once.
        """
        found = await retention_store.list_due_to_delete(self._pool, self._terms, now, rows_max=rows_max, held=held)
        if self._has_colder_class:
            found += await retention_store.list_due_to_cool(self._pool, self._terms, now, rows_max=rows_max, held=held)
        return list({one.stream_id: one for one in found}.values())

    async def round(self, now: datetime, keep: Keep = _nobody_asks) -> Done:
        """Do what is due, up to ``rows_max`` recordings of each kind. A kill in between costs nothing."""
        done = Done()
        for step in plan(await self.due(now, rows_max=self._rows_max), await self.policy(), now):
            await keep()
            if await (self.delete(step, now) if step.action == "delete" else self.cool(step, keep)):
                done.steps.append(step)
        return done

    async def do(self, round_: Round) -> None:
        """A round of the service."""
        done = await self.round(datetime.now(UTC), keep=lambda: round_.keep(""))
        if done.steps:
            cooled, deleted = done.tally("cool"), done.tally("delete")
            log.info(
                "retention_applied",
                cooled=cooled.count,
                cooled_bytes=cooled.size_bytes,
                deleted=deleted.count,
                deleted_bytes=deleted.size_bytes,
            )

    async def delete(self, step: Step, now: datetime) -> bool:
        """Delete the recording so that it can be undone; whether it was, and was not preserved, held or changed."""
        async with self._outbox.transaction() as transaction:
            if not await retention_store.may_go(transaction.connection, step.stream_id):
                return False
            deleted = await mark_deleted(transaction, step.stream_id, DeleteReason.RETENTION, now + self._undo)
        if deleted:
            metrics.retention_recordings.labels("deleted").inc()
        return deleted

    async def cool(self, step: Step, keep: Keep = _nobody_asks) -> bool:
        """Move the recording's media to the colder class; whether all of it is there now.

        How far it has come is written down, so that whoever goes on after a kill goes on there.
        """
        cooled_to = await self._may_be_cooled(step.stream_id)
        if cooled_to is None:
            return False
        batch: list[str] = []
        async for stored in self._objects.list(f"{step.stream_id}/", after=cooled_to):
            if stored.key.endswith(COOLED_ENDINGS):
                batch.append(stored.key)
            if len(batch) == COOLED_AT_ONCE:
                await keep()
                if not await self._cool(step.stream_id, batch):
                    return False
                batch = []
        if batch and not await self._cool(step.stream_id, batch):
            return False
        cold = bool(await QUERIES.note_cold(self._pool, stream_id=step.stream_id))
        if cold:
            metrics.retention_recordings.labels("cooled").inc()
            log.info("recording_cooled", stream_id=str(step.stream_id), size_bytes=step.size_bytes)
        return cold

    async def _cool(self, stream_id: UUID, keys: Sequence[str]) -> bool:
        """Move some objects; False: the store has no colder class after all, or the recording is to stay as it is."""
        if await self._may_be_cooled(stream_id) is None:
            return False
        moved = await asyncio.gather(*(self._cool_one(key) for key in keys))
        if not all(moved):
            log.error("no_colder_class", stream_id=str(stream_id))
            return False
        await QUERIES.note_cooled_to(self._pool, stream_id=stream_id, cooled_to=keys[-1])
        return True

    async def _cool_one(self, key: str) -> bool:
        try:
            return await self._objects.cool(key)
        except ObjectMissing:
            # A job of the ladder was done again, or the owner has deleted a file.
            return True

    async def _may_be_cooled(self, stream_id: UUID) -> str | None:
        """The key up to which it is cooled already; None: it is to stay as it is."""
        async with self._pool.acquire() as connection, connection.transaction():
            row = await QUERIES.lock_due(connection, stream_id=stream_id)
        return None if row is None or row["kept"] else str(row["cooled_to"] or "")


def terms_of(settings: RetentionSettings) -> Terms:
    """The terms that the settings give to recordings of channels without their own."""
    return Terms(
        settings.archive_retention_cold_after_days or "never", settings.archive_retention_delete_after_days or "never"
    )
