"""Retention and the sweeper as parts of the intake."""

from __future__ import annotations

from archive.parts import ArchiveParts
from archive.retention.sweeper import Sweeper, sweep_rules
from archive.retention.work import RetentionWork, terms_of
from archive.rounds import Rounds
from archive.settings import ObjectSettings
from runtime.assembly import Assembly
from runtime.service import Service


def has_colder_class(settings: ObjectSettings) -> bool:
    """Whether there is a colder class to move recordings to."""
    return settings.archive_object_store == "s3" and settings.archive_s3_cold_class is not None


def retention(parts: ArchiveParts) -> Assembly:
    """What is switched on of the two."""
    settings, services = parts.settings, list[Service]()
    every_seconds = settings.archive_retention_every_seconds
    if settings.archive_retention:
        work = RetentionWork(
            parts.pool,
            parts.outbox,
            parts.objects,
            terms_of(settings),
            has_colder_class=has_colder_class(settings),
            undo_seconds=settings.archive_undo_seconds,
            rows_max=settings.archive_retention_rows_max,
        )
        services.append(Rounds(parts.pool, "retention", work.do, every_seconds=every_seconds))
    if settings.archive_sweep:
        sweeper = Sweeper(parts.pool, parts.objects, sweep_rules(settings))
        services.append(Rounds(parts.pool, "sweep", sweeper.do, every_seconds=every_seconds))
    return Assembly(services=services)
