"""Makes a recording's rendition into one MP4 file: copied, not encoded, with its index in front.

Made in one go, and from the start again by another worker if this one is killed: all of it is copying, so that starting
over costs what fetching parts of it back from the store would cost (docs/decisions/0078).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from archive.downloads.arguments import download_arguments, download_probe_arguments
from archive.downloads.feed import Feed, while_store_away
from archive.downloads.plan import Run, runs_of
from archive.downloads.room import download_room
from archive.errors import MediaRefused, PlaylistUnreadable, ProcessError
from archive.jobs.jobs import LeasedJob
from archive.ladder.transcode import blame_a_full_disk
from archive.media.probe import PROBE_LIMITS, probe
from archive.media.process import Limits
from archive.objects.keys import INDEX, MP4, rendition_key
from archive.parts import ArchiveParts
from archive.pictures.pictures import PictureBudget
from archive.recording_files import file_key, put_files
from archive.store import RecordingFile
from eventbus.outbox import Transaction
from runtime.objects import ObjectStoreError, StoreUnavailable

log = structlog.get_logger(__name__)

DOWNLOAD = "download"

PLAYLIST_BYTES_MAX = 16 << 20
# A copy that is slower than this stands still.
BYTES_PER_SECOND_MIN = 2 << 20
SECONDS_FLOOR = 600.0
STOP_GRACE_SECONDS = 1.0
# What an MP4 file may have beside its media: about 24 bytes for each frame.
OVERHEAD_BYTES = 128 << 20
# Of the work, what is done when all segments have been handed over; the rest is the index and the upload.
FED = 0.8
# Segments of a run that are looked into for a picture.
LOOKED_INTO_MAX = 16


class Downloads:
    """Does the jobs of kind `download`; their particulars say which rendition, and about how large it is."""

    name = DOWNLOAD

    def __init__(self, parts: ArchiveParts) -> None:
        self._objects = parts.objects
        self._runner = parts.runner
        self._work_directory = parts.work_directory
        self._budget = PictureBudget.of(parts.settings)
        self._keep = timedelta(seconds=parts.settings.archive_download_keep_seconds)
        # A store on a disk takes a second copy, most likely of the same disk, which must stay good for recordings.
        on_disk = parts.settings.archive_object_store == "disk"
        self._copies = 2 if on_disk else 1
        self._reserve_bytes = parts.settings.archive_disk_reserve_bytes if on_disk else 0

    async def do(self, job: LeasedJob, report: Callable[[float], None]) -> Mapping[str, Any]:
        """See JobKind."""
        rendition, bytes_expected = job.particulars["rendition"], job.particulars["bytes_expected"]
        runs: Sequence[Run] = await self._runs(job, rendition)
        bytes_needed = self._copies * bytes_expected + self._reserve_bytes
        async with download_room(self._work_directory, bytes_needed) as directory:
            if job.particulars["has_picture"]:
                runs = await self._from_first_picture(runs, directory)
            try:
                target = await self._join(job, runs, directory, report)
            except ProcessError as error:
                await asyncio.to_thread(blame_a_full_disk, directory, error)
                # The text is shown to users, who need not know where our files are.
                raise MediaRefused(str(error).replace(f"{directory}/", "")) from error
            seconds = await self._judge(runs, target)
            name = f"{DOWNLOAD}/{rendition}-{job.fence}.mp4"
            key = file_key(job.stream_id, name)
            await self._put(key, target)
            size_bytes = (await asyncio.to_thread(target.stat)).st_size
        return {"name": name, "size_bytes": size_bytes, "rendition": rendition, "seconds": seconds}

    async def _runs(self, job: LeasedJob, rendition: str) -> list[Run]:
        index = rendition_key(job.stream_id, rendition, INDEX)
        text = (await self._objects.get_bytes(index, bytes_max=PLAYLIST_BYTES_MAX)).decode("utf-8", "replace")
        try:
            runs = runs_of(text, job.stream_id, rendition)
        except PlaylistUnreadable as error:
            raise MediaRefused(f"its playlist cannot be read: {error}") from error
        if not runs:
            raise MediaRefused("there is nothing in it")
        return runs

    async def _from_first_picture(self, runs: Sequence[Run], directory: Path) -> Sequence[Run]:
        """The runs without those at the beginning that have no picture: an MP4 file has to know it from the start."""
        for at, run in enumerate(runs):
            for key in run.keys[:LOOKED_INTO_MAX]:
                if await self._has_picture(key, directory):
                    if at > 0:
                        log.warning("download_begins_late", runs_left_out=at)
                    return runs[at:]
        raise MediaRefused("there is no picture in it")

    async def _has_picture(self, key: str, directory: Path) -> bool:
        path = directory / "looked-into.ts"
        await while_store_away(lambda: self._objects.get_file(key, path))
        try:
            return (await probe(self._runner, path)).has_video
        except (MediaRefused, ProcessError):
            return False
        finally:
            await asyncio.to_thread(path.unlink)

    async def _join(
        self,
        job: LeasedJob,
        runs: Sequence[Run],
        directory: Path,
        report: Callable[[float], None],
    ) -> Path:
        feed = Feed(self._objects, runs, directory)
        await asyncio.to_thread(feed.prepare)
        segments, fed = sum(len(run.keys) for run in runs), 0

        def on_fed() -> None:
            nonlocal fed
            fed += 1
            report(FED * fed / segments)

        target = directory / "download.mp4"
        argv = download_arguments(feed.list_path, target, has_picture=job.particulars["has_picture"])
        joining = asyncio.create_task(self._runner.run(argv, self._limits(job.particulars["bytes_expected"])))
        feeding = asyncio.create_task(feed.run(on_fed))
        try:
            await asyncio.wait({joining, feeding}, return_when=asyncio.FIRST_COMPLETED)
            if feeding.done():
                feeding.result()
            await joining
        finally:
            joining.cancel()
            feeding.cancel()
            await asyncio.gather(joining, feeding, return_exceptions=True)
        return target

    async def _judge(self, runs: Sequence[Run], target: Path) -> float:
        """How long the file lasts. An exit code of 0 is a claim; the file is the proof. Raises MediaRefused."""
        finished = await self._runner.run(download_probe_arguments(target), PROBE_LIMITS)
        told = finished.stdout.decode("ascii", "replace").strip()
        seconds = float(told) if told.replace(".", "", 1).isdigit() else 0.0
        expected_seconds = sum(run.duration_ms for run in runs) / 1000
        if seconds * 2 < expected_seconds:
            raise MediaRefused(f"{seconds:g} s came out of {expected_seconds:g} s")
        log.info("download_made", seconds=seconds, expected_seconds=expected_seconds, runs=len(runs))
        return seconds

    async def _put(self, key: str, target: Path) -> None:
        try:
            await while_store_away(lambda: self._objects.put_file(key, target, MP4))
        except StoreUnavailable as error:
            # Not an outage like others, after which all of it would be made again without end: a store that is full
            # refuses what is large, and nothing else.
            log.warning("download_not_stored", reason=error.reason)
            raise MediaRefused("the store has no room for it, or has been away for minutes") from error

    def _limits(self, bytes_expected: int) -> Limits:
        seconds = SECONDS_FLOOR + bytes_expected / BYTES_PER_SECOND_MIN
        return Limits(
            time_seconds=seconds,
            # It says nothing while it waits for segments, or moves the index to the front.
            silence_seconds=seconds,
            stop_grace_seconds=STOP_GRACE_SECONDS,
            cpu_seconds=int(seconds),
            memory_bytes=self._budget.memory_bytes_max,
            file_bytes=bytes_expected + bytes_expected // 8 + OVERHEAD_BYTES,
            nice=self._budget.nice,
        )

    async def finish(self, transaction: Transaction, job: LeasedJob, result: Mapping[str, Any]) -> None:
        """See JobKind."""
        particulars = {
            "rendition": result["rendition"],
            "expires_at": written(datetime.now(UTC) + self._keep),
            "seconds": result["seconds"],
        }
        file = RecordingFile(result["name"], DOWNLOAD, result["size_bytes"], particulars)
        await put_files(transaction.connection, job.stream_id, [file], rendition=result["rendition"])

    async def give_up(self, transaction: Transaction, job: LeasedJob, reason: str) -> None:
        """See JobKind. Whoever asked reads the reason, and may ask again."""

    async def discard(self, job: LeasedJob, result: Mapping[str, Any]) -> None:
        """See JobKind."""
        with suppress(ObjectStoreError):
            await self._objects.delete(file_key(job.stream_id, result["name"]))


def written(moment: datetime) -> str:
    """A time as it is kept with a download: UTC, to the second, so that texts sort as times do."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
