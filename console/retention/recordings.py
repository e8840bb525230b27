"""The archive's part of ``livestream retention``: recordings by age, and objects that nobody names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from archive.library.purge import Purger
from archive.library.settings import LibrarySettings
from archive.objects.store_configured import open_objects
from archive.retention import store as retention_store
from archive.retention.part import has_colder_class
from archive.retention.plan import Aged, Policy, Step, plan
from archive.retention.settings import RetentionSettings
from archive.retention.sweeper import Sweeper, SweepReport, sweep_rules
from archive.retention.work import RetentionWork, terms_of
from archive.settings import ObjectSettings
from console.retention.port import Found, Line, summed
from eventbus.outbox import Outbox
from runtime.migrations import require_migrated
from runtime.objects import ObjectStore
from runtime.postgres import Pool, open_pool
from runtime.settings import PostgresSettings

SCHEMA = "archive"
PLANNED_MAX = 100_000


class RecordingRetentionSettings(PostgresSettings, ObjectSettings, LibrarySettings, RetentionSettings):
    """What it takes to plan and to do."""


@dataclass(frozen=True)
class RecordingRetention:
    """Recordings and their objects. ``sweeps``: go through the whole store as well, which takes its time."""

    pool: Pool
    objects: ObjectStore
    work: RetentionWork
    purger: Purger
    sweeper: Sweeper
    sweeps: bool
    has_colder_class: bool
    service: str = SCHEMA

    async def plan(self, now: datetime) -> Found:
        """See the port."""
        policy = await self.work.policy()
        due = await self._due(now, held=False)
        held = await self._due(now, held=True)
        without_holds = Policy(policy.terms, policy.channels, (), policy.has_colder_class)
        lines = _lines(plan(due, policy, now))
        swept = await self.sweeper.sweep(now, dry_run=True) if self.sweeps else None
        return Found(
            lines=summed([*lines, *_swept(swept)]),
            held=summed(_lines(plan(held, without_holds, now))),
            notes=[*self._notes(len(due)), *_told(swept, "would be")],
            missing=swept.missing if swept else 0,
        )

    async def apply(self, now: datetime) -> Found:
        """See the port."""
        before = {one.stream_id: one for one in await self._due_to_purge(now, held=False)}
        await self.purger.round()
        for left in await self._due_to_purge(now, held=False):
            before.pop(left.stream_id, None)
        lines = [Line("purge", one.channel_id, 1, one.size_bytes) for one in before.values()]
        done = await self.work.round(now)
        lines += _lines(done.steps)
        swept = await self.sweeper.sweep(now, dry_run=False) if self.sweeps else None
        return Found(
            lines=summed([*lines, *_swept(swept)]),
            notes=_told(swept, "were"),
            missing=swept.missing if swept else 0,
        )

    async def _due(self, now: datetime, *, held: bool) -> list[Aged]:
        return [
            *await self._due_to_purge(now, held=held),
            *await self.work.due(now, rows_max=PLANNED_MAX, held=held),
        ]

    async def _due_to_purge(self, now: datetime, *, held: bool) -> list[Aged]:
        return await retention_store.list_due_to_purge(self.pool, now, rows_max=PLANNED_MAX, held=held)

    def _notes(self, due: int) -> list[str]:
        notes = []
        if not self.has_colder_class:
            notes.append("the store has no colder class (LIVESTREAM_ARCHIVE_S3_COLD_CLASS): nothing is cooled")
        if due >= PLANNED_MAX:
            notes.append(f"there are more than {PLANNED_MAX}; these are the oldest")
        return notes


@asynccontextmanager
async def open_recordings(settings: RecordingRetentionSettings, *, sweeps: bool) -> AsyncIterator[RecordingRetention]:
    """The archive's part, with its database and its store. Raises StaleSchema, OSError, StoreUnavailable."""
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(settings, schema=SCHEMA))
        await require_migrated(pool, schema=SCHEMA)
        objects = await stack.enter_async_context(open_objects(settings))
        outbox = Outbox(pool, source=SCHEMA)
        colder = has_colder_class(settings)
        work = RetentionWork(
            pool,
            outbox,
            objects,
            terms_of(settings),
            has_colder_class=colder,
            undo_seconds=settings.archive_undo_seconds,
            rows_max=settings.archive_retention_rows_max,
        )
        yield RecordingRetention(
            pool,
            objects,
            work,
            Purger(pool, outbox, objects),
            Sweeper(pool, objects, sweep_rules(settings)),
            sweeps,
            colder,
        )


def _lines(steps: Iterable[Step]) -> list[Line]:
    return [Line(step.action, step.channel_id, 1, step.size_bytes) for step in steps]


def _swept(report: SweepReport | None) -> list[Line]:
    if report is None:
        return []
    return [
        Line("sweep", channel_id, tally.count, tally.size_bytes)
        for channel_id, tally in report.orphans_by_channel.items()
    ]


def _told(report: SweepReport | None, would_be: str) -> list[str]:
    if report is None:
        return ["the store was not looked through"]
    notes = [
        f"{report.objects} objects looked at; {report.young + report.kept} that nobody names are too young, in use or "
        f"held, {report.foreign} are not ours; {report.unfinished} unfinished uploads {would_be} removed"
    ]
    if report.stopped:
        notes.append("stopped: most of what is there is unknown; is it the right database, and the right store?")
    if report.missing:
        notes.append(f"{report.missing} objects are named and not there, such as {report.missing_keys[0]}")
    return notes
