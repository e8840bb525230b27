"""Makes a recording's storyboard: small pictures for a player's seek bar, on a few sheets, and the WebVTT naming them.

One segment is fetched for each tile, and of it one key frame is decoded; a tile that cannot be had shows what the one
before it showed, so that a broken segment costs one tile.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog

from archive.errors import MediaRefused, ProcessError
from archive.jobs.jobs import LeasedJob
from archive.ladder.ladder import SourceSegment
from archive.ladder.transcode import blame_a_full_disk
from archive.media.probe import probe
from archive.objects.keys import JPEG, VTT, source_segment_key
from archive.parts import ArchiveParts
from archive.pictures.arguments import sheet_arguments, tile_arguments
from archive.pictures.layout import SHEET_TILES, Layout, lay_out, poster_segments, storyboard_vtt, tile_segments
from archive.pictures.pictures import SPRITE, STORYBOARD, PictureBudget
from archive.recording_files import file_key, put_files
from archive.store import RecordingFile
from eventbus.outbox import Transaction
from runtime.objects import ObjectMissing, ObjectStoreError

log = structlog.get_logger(__name__)


class Storyboards:
    """Does the jobs of kind `storyboard`."""

    name = STORYBOARD

    def __init__(self, parts: ArchiveParts) -> None:
        self._recordings = parts.recordings
        self._objects = parts.objects
        self._runner = parts.runner
        self._work_directory = parts.work_directory
        self._budget = PictureBudget.of(parts.settings)
        self._step_seconds = parts.settings.archive_storyboard_seconds
        self._tiles_max = parts.settings.archive_storyboard_tiles_max

    async def do(self, job: LeasedJob, report: Callable[[float], None]) -> Mapping[str, Any]:
        """See JobKind."""
        segments = await self._recordings.segments(job.stream_id)
        if not segments:
            raise MediaRefused("it has no segments")
        with tempfile.TemporaryDirectory(dir=self._work_directory, prefix="storyboard-") as directory:
            work = Path(directory)
            layout = await self._lay_out(job.stream_id, segments, work)
            sheets = await self._sheets(job, segments, layout, work, report)
        text = storyboard_vtt(layout, [sheet["name"].rpartition("/")[2] for sheet in sheets]).encode()
        name = f"{STORYBOARD}/{job.fence}.vtt"
        stored = await self._objects.put_bytes(file_key(job.stream_id, name), text, VTT)
        return {"name": name, "size_bytes": stored.size_bytes, "sheets": sheets, "tiles": layout.tiles}

    async def _lay_out(self, stream_id: UUID, segments: Sequence[SourceSegment], work: Path) -> Layout:
        """The layout for the picture of the first of a few segments that has one."""
        reason = "there is no picture in it"
        for segment in poster_segments(segments):
            try:
                facts = await probe(self._runner, await self._fetched(stream_id, segment, work))
            except (MediaRefused, ProcessError, ObjectMissing) as error:
                reason = str(error)
                continue
            if facts.has_video:
                return lay_out(
                    sum(segment.duration_ms for segment in segments),
                    facts.width_px * facts.pixel_aspect / facts.height_px,
                    step_seconds=self._step_seconds,
                    tiles_max=self._tiles_max,
                )
        raise MediaRefused(f"no picture could be taken: {reason}")

    async def _sheets(
        self,
        job: LeasedJob,
        segments: Sequence[SourceSegment],
        layout: Layout,
        work: Path,
        report: Callable[[float], None],
    ) -> list[dict[str, Any]]:
        wanted = list(tile_segments(segments, layout))
        tile = _black(layout)
        sheets = []
        for sheet in range(layout.sheets):
            pixels = bytearray()
            for segment in wanted[sheet * SHEET_TILES : (sheet + 1) * SHEET_TILES]:
                tile = await self._tile(job.stream_id, segment, layout, work) or tile
                pixels += tile
                report((sheet * SHEET_TILES + len(pixels) // len(tile)) / layout.tiles)
            sheets.append(await self._sheet(job, layout, sheet, bytes(pixels), work))
        return sheets

    async def _tile(self, stream_id: UUID, segment: SourceSegment, layout: Layout, work: Path) -> bytes | None:
        target = work / "tile.yuv"
        try:
            source = await self._fetched(stream_id, segment, work)
            await self._runner.run(tile_arguments(source, target, layout), self._budget.limits())
            tile = await asyncio.to_thread(target.read_bytes)
        except (ProcessError, ObjectMissing, FileNotFoundError) as error:
            await asyncio.to_thread(blame_a_full_disk, work, error)
            log.info("tile_missing", sequence=segment.sequence, reason=str(error))
            return None
        return tile if len(tile) == len(_black(layout)) else None

    async def _sheet(self, job: LeasedJob, layout: Layout, sheet: int, pixels: bytes, work: Path) -> dict[str, Any]:
        tiles, target = work / "sheet.yuv", work / "sheet.jpg"
        await asyncio.to_thread(tiles.write_bytes, pixels)
        await self._runner.run(sheet_arguments(tiles, target, layout, sheet), self._budget.limits())
        name = f"{STORYBOARD}/{sheet}-{job.fence}.jpg"
        stored = await self._objects.put_file(file_key(job.stream_id, name), target, JPEG)
        return {"name": name, "size_bytes": stored.size_bytes}

    async def _fetched(self, stream_id: UUID, segment: SourceSegment, work: Path) -> Path:
        path = work / "segment.ts"
        await self._objects.get_file(source_segment_key(stream_id, segment.sequence), path)
        return path

    async def finish(self, transaction: Transaction, job: LeasedJob, result: Mapping[str, Any]) -> None:
        """See JobKind."""
        sprites = [RecordingFile(sheet["name"], SPRITE, sheet["size_bytes"], {}) for sheet in result["sheets"]]
        named = RecordingFile(result["name"], STORYBOARD, result["size_bytes"], {"tiles": result["tiles"]})
        await put_files(transaction.connection, job.stream_id, [*sprites, named])

    async def give_up(self, transaction: Transaction, job: LeasedJob, reason: str) -> None:
        """See JobKind. A recording without a storyboard is one all the same."""

    async def discard(self, job: LeasedJob, result: Mapping[str, Any]) -> None:
        """See JobKind."""
        for name in [result["name"], *(sheet["name"] for sheet in result["sheets"])]:
            with suppress(ObjectStoreError):
                await self._objects.delete(file_key(job.stream_id, name))


def _black(layout: Layout) -> bytes:
    """A black tile, 4:2:0: one byte of brightness for each pixel, two of colour for each four."""
    pixels = layout.tile_width_px * layout.tile_height_px
    return b"\x10" * pixels + b"\x80" * (pixels // 2)
