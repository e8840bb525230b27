"""Removes objects that nothing names, and reports rows whose object is gone: two listings merged in key order.

The store is listed, and beside it what the database names of each recording; of neither more than one recording's is
held in memory. An object goes only if all of this is true: it lies in a recording's folder; no row and no playlist
names it; it is older than the grace; its recording is not held, does not run, and has no open job, for then somebody
may be about to name it. A folder that the database does not know at all is left for much longer, and when most of
what is there is unknown nothing is removed: then the database or the bucket is the wrong one.

Nothing is repaired: a missing object is said, and a person decides.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from archive import metrics
from archive.retention.plan import Tally
from archive.retention.settings import RetentionSettings
from archive.retention.sweeper_folders import Folder, KnownFolders, Pace, behind, find_folder, stream_id_of
from archive.rounds import Round
from runtime.objects import ObjectStore, StoredObject
from runtime.postgres import Pool

log = structlog.get_logger(__name__)

KEYS_SHOWN_MAX = 20
UNKNOWN_FOLDERS_TRUSTED = 10
"""More unknown folders than this, and more than known ones, are taken for a mistake."""

Keep = Callable[[str], Awaitable[None]]
"""Told now and then up to which folder the sweep is done."""


@dataclass(frozen=True, slots=True)
class SweepRules:
    """What may go. ``unknown_after`` is for folders that the database does not know."""

    orphans_after: timedelta
    unknown_after: timedelta
    objects_per_second: float = float("inf")


@dataclass(slots=True)
class SweepReport:
    """What was found, and, unless it was a dry run, removed.

    ``young``: unnamed, and not old enough; ``kept``: unnamed, of a recording that runs, is worked on or is held;
    ``foreign``: in no recording's folder; ``missing``: named, and not there.
    """

    objects: int = 0
    size_bytes: int = 0
    orphans: int = 0
    orphan_bytes: int = 0
    orphans_by_channel: dict[UUID | None, Tally] = field(default_factory=dict)
    young: int = 0
    kept: int = 0
    foreign: int = 0
    folders_known: int = 0
    folders_unknown: int = 0
    missing: int = 0
    missing_keys: list[str] = field(default_factory=list)
    unfinished: int = 0
    stopped: bool = False

    def add_orphan(self, channel_id: UUID | None, size_bytes: int) -> None:
        """One orphan more; of a channel, where one knows whose it was."""
        self.orphans += 1
        self.orphan_bytes += size_bytes
        self.orphans_by_channel.setdefault(channel_id, Tally()).add(size_bytes)


async def _nobody_asks(_done: str) -> None:
    """Nothing."""


class Sweeper:
    """Goes through the whole store once a round."""

    def __init__(self, pool: Pool, objects: ObjectStore, rules: SweepRules) -> None:
        self._pool = pool
        self._objects = objects
        self._rules = rules

    async def do(self, round_: Round) -> None:
        """A round of the service."""
        report = await self.sweep(datetime.now(UTC), dry_run=False, after=round_.cursor, keep=round_.keep)
        metrics.objects_missing.set(report.missing)
        log.info(
            "swept",
            objects=report.objects,
            orphans=report.orphans,
            orphan_bytes=report.orphan_bytes,
            young=report.young,
            unfinished=report.unfinished,
            missing=report.missing,
        )

    async def sweep(self, now: datetime, *, dry_run: bool, after: str = "", keep: Keep = _nobody_asks) -> SweepReport:
        """Go through everything behind the folder ``after``; a dry run removes nothing."""
        report = await _Sweep(self._pool, self._objects, self._rules, now, dry_run=dry_run, keep=keep).run(after)
        report.unfinished = await self._objects.sweep_unfinished(self._rules.orphans_after, dry_run=dry_run)
        return report


class _Sweep:
    """One time through."""

    def __init__(
        self, pool: Pool, objects: ObjectStore, rules: SweepRules, now: datetime, *, dry_run: bool, keep: Keep
    ) -> None:
        self._pool = pool
        self._objects = objects
        self._rules = rules
        self._now = now
        self._dry_run = dry_run
        self._keep = keep
        self._pace = Pace(rules.objects_per_second)
        self._report = SweepReport()

    async def run(self, after: str) -> SweepReport:
        """See Sweeper.sweep."""
        known, done, name = KnownFolders(self._pool, after), after, ""
        folder: Folder | None = None
        async for stored in self._objects.list(after=behind(after)):
            if stored.key.partition("/")[0] != name:
                await self._close(folder)
                done, name = name or after, stored.key.partition("/")[0]
                await self._pass_over(known, before=name)
                folder = await self._open(name)
                if self._report.stopped:
                    return self._report
                await self._keep(done)
            if await self._pace.wait():
                await self._keep(done)
            await self._look_at(folder, stored)
        await self._close(folder)
        await self._pass_over(known, before=None)
        return self._report

    async def _open(self, name: str) -> Folder | None:
        stream_id = stream_id_of(name)
        if stream_id is None:
            return None
        folder, report = await find_folder(self._pool, stream_id), self._report
        report.folders_known += folder.known
        report.folders_unknown += not folder.known
        if report.folders_unknown > max(UNKNOWN_FOLDERS_TRUSTED, report.folders_known):
            log.error("sweep_stopped", unknown=report.folders_unknown, known=report.folders_known)
            report.stopped = True
        return folder

    async def _look_at(self, folder: Folder | None, stored: StoredObject) -> None:
        self._report.objects += 1
        self._report.size_bytes += stored.size_bytes
        if folder is None:
            self._report.foreign += 1
        elif stored.key in folder.named:
            folder.unseen.discard(stored.key)
        elif self._is_orphan(folder, stored):
            await self._remove(folder, stored)

    def _is_orphan(self, folder: Folder, stored: StoredObject) -> bool:
        """Whether an object that nothing names may go; the report says why not."""
        if folder.busy or folder.held:
            self._report.kept += 1
            return False
        grace = self._rules.orphans_after if folder.known else self._rules.unknown_after
        if stored.modified_at is None or stored.modified_at > self._now - grace:
            self._report.young += 1
            return False
        return True

    async def _remove(self, folder: Folder, stored: StoredObject) -> None:
        self._report.add_orphan(folder.channel_id, stored.size_bytes)
        if self._dry_run:
            return
        await self._objects.delete(stored.key)
        metrics.orphans_removed.inc()
        metrics.orphan_bytes_removed.inc(stored.size_bytes)
        log.info("orphan_removed", key=stored.key, size_bytes=stored.size_bytes)

    async def _close(self, folder: Folder | None) -> None:
        """Report what is named and was not there; looked at once more, for it may have come after the listing."""
        if folder is None or not folder.complete or not folder.unseen:
            return
        gone = [key for key in sorted(folder.unseen) if await self._objects.head(key) is None]
        if gone:
            report = self._report
            report.missing += len(gone)
            report.missing_keys += gone[: KEYS_SHOWN_MAX - len(report.missing_keys)]
            log.error("objects_missing", stream_id=str(folder.stream_id), missing=len(gone), keys=gone[:KEYS_SHOWN_MAX])

    async def _pass_over(self, known: KnownFolders, *, before: str | None) -> None:
        """Recordings that play, and of which the store has no folder at all."""
        async for stream_id in known.until(before):
            self._report.folders_known += 1
            await self._close(await find_folder(self._pool, stream_id))


def sweep_rules(settings: RetentionSettings) -> SweepRules:
    """The rules that the settings say."""
    return SweepRules(
        orphans_after=timedelta(seconds=settings.archive_sweep_orphans_after_seconds),
        unknown_after=timedelta(days=settings.archive_sweep_unknown_after_days),
        objects_per_second=settings.archive_sweep_objects_per_second,
    )
