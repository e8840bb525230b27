"""What the parts of the archive are built from; `__main__` makes it once for the process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from archive.media.process import ProcessRunner
from archive.settings import ArchiveSettings
from archive.store import Recordings
from eventbus.outbox import Outbox
from runtime.health import Health
from runtime.objects import ObjectStore
from runtime.postgres import Pool


@dataclass(frozen=True)
class ArchiveParts:
    """Adapters that several parts use. ``work_directory`` exists and is ours."""

    settings: ArchiveSettings
    pool: Pool
    objects: ObjectStore
    runner: ProcessRunner
    outbox: Outbox
    recordings: Recordings
    health: Health
    work_directory: Path
