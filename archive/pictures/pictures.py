"""Pictures of a recording: which jobs make them, and what their ffmpeg may take."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from archive.jobs.jobs import USUAL, WHENEVER, NewJob, add_jobs
from archive.ladder.ladder import SOURCE
from archive.media.process import Limits
from archive.settings import ArchiveSettings
from archive.store import QUERIES
from runtime.postgres import Connection

POSTER = "poster"
STORYBOARD = "storyboard"
SPRITE = "sprite"
"""Role of a storyboard's sheets; the storyboard itself is the WebVTT file that names them."""

PICTURE_SECONDS_MAX = 60.0
PICTURE_BYTES_MAX = 16 << 20
STOP_GRACE_SECONDS = 1.0


async def plan_pictures(connection: Connection, stream_id: UUID, *, duration_ms: int) -> None:
    """Have a playing recording's poster and storyboard made, once the caller's transaction commits.

    Planning twice changes nothing. Of sound alone there is nothing to see.
    """
    source = await QUERIES.find_rendition(connection, stream_id=stream_id, name=SOURCE)
    if source is None or source["height_px"] == 0:
        return
    poster = NewJob(stream_id, POSTER, work_ms=1000, urgency=USUAL)
    storyboard = NewJob(stream_id, STORYBOARD, work_ms=duration_ms, urgency=WHENEVER)
    await add_jobs(connection, [poster, storyboard])


@dataclass(frozen=True, slots=True)
class PictureBudget:
    """What one ffmpeg that makes a picture may take."""

    nice: int = 19
    memory_bytes_max: int = 4 << 30

    @classmethod
    def of(cls, settings: ArchiveSettings) -> PictureBudget:
        """The budget that the settings give."""
        return cls(settings.archive_worker_nice, settings.archive_worker_job_memory_bytes_max)

    def limits(self) -> Limits:
        """Limits of one run."""
        return Limits(
            time_seconds=PICTURE_SECONDS_MAX,
            silence_seconds=PICTURE_SECONDS_MAX,
            stop_grace_seconds=STOP_GRACE_SECONDS,
            cpu_seconds=int(PICTURE_SECONDS_MAX),
            memory_bytes=self.memory_bytes_max,
            file_bytes=PICTURE_BYTES_MAX,
            nice=self.nice,
        )
