"""Makes a recording's poster: one picture that shows what is in it, from a moment that is not dark."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from archive.errors import MediaRefused, ProcessError
from archive.jobs.jobs import LeasedJob
from archive.ladder.ladder import SourceSegment
from archive.ladder.transcode import blame_a_full_disk
from archive.objects.keys import JPEG, source_segment_key
from archive.parts import ArchiveParts
from archive.pictures.arguments import poster_arguments, read_brightness
from archive.pictures.layout import poster_segments
from archive.pictures.pictures import POSTER, PictureBudget
from archive.recording_files import file_key, put_files
from archive.store import RecordingFile
from eventbus.outbox import Transaction
from runtime.objects import ObjectMissing, ObjectStoreError

log = structlog.get_logger(__name__)

# Black is 16 (ITU-T H.273): at this a screen looks switched off.
DARK = 28.0


@dataclass(frozen=True, slots=True)
class _Taken:
    path: Path
    brightness: float


class Posters:
    """Does the jobs of kind `poster`."""

    name = POSTER

    def __init__(self, parts: ArchiveParts) -> None:
        self._recordings = parts.recordings
        self._objects = parts.objects
        self._runner = parts.runner
        self._work_directory = parts.work_directory
        self._budget = PictureBudget.of(parts.settings)

    async def do(self, job: LeasedJob, report: Callable[[float], None]) -> Mapping[str, Any]:
        """See JobKind."""
        segments = await self._recordings.segments(job.stream_id)
        with tempfile.TemporaryDirectory(dir=self._work_directory, prefix="poster-") as directory:
            taken: _Taken | None = None
            reason = "it has no segments"
            for segment in poster_segments(segments) if segments else ():
                try:
                    tried = await self._take(job, segment, Path(directory))
                except (MediaRefused, ProcessError, ObjectMissing) as error:
                    await asyncio.to_thread(blame_a_full_disk, self._work_directory, error)
                    reason = str(error)
                    log.info("no_poster_there", sequence=segment.sequence, reason=reason)
                    continue
                if taken is None or tried.brightness > taken.brightness:
                    taken = tried
                if taken.brightness >= DARK:
                    break
            if taken is None:
                raise MediaRefused(f"no picture could be taken: {reason}")
            name = f"poster-{job.fence}.jpg"
            stored = await self._objects.put_file(file_key(job.stream_id, name), taken.path, JPEG)
        return {"name": name, "size_bytes": stored.size_bytes, "brightness": round(taken.brightness)}

    async def _take(self, job: LeasedJob, segment: SourceSegment, directory: Path) -> _Taken:
        source, target = directory / "segment.ts", directory / f"{segment.sequence}.jpg"
        await self._objects.get_file(source_segment_key(job.stream_id, segment.sequence), source)
        finished = await self._runner.run(poster_arguments(source, target), self._budget.limits())
        if not await asyncio.to_thread(target.exists):
            raise MediaRefused("there is no picture in it")
        return _Taken(target, read_brightness(finished.stdout))

    async def finish(self, transaction: Transaction, job: LeasedJob, result: Mapping[str, Any]) -> None:
        """See JobKind."""
        poster = RecordingFile(result["name"], POSTER, result["size_bytes"], {})
        await put_files(transaction.connection, job.stream_id, [poster])

    async def give_up(self, transaction: Transaction, job: LeasedJob, reason: str) -> None:
        """See JobKind. A recording without a poster is one all the same."""

    async def discard(self, job: LeasedJob, result: Mapping[str, Any]) -> None:
        """See JobKind."""
        with suppress(ObjectStoreError):
            await self._objects.delete(file_key(job.stream_id, result["name"]))
