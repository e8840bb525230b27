"""Cuts a segment: fetches it, looks where its pictures are, keeps those between the edges, looks at the result."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog

from archive.clips.arguments import (
    PIXEL_FORMAT_ELSE,
    PIXEL_FORMATS,
    PROFILES,
    Bounds,
    Picture,
    cut_arguments,
    look_arguments,
    parted_arguments,
)
from archive.clips.plan import TICKS_PER_MS, ClipRange, Piece, Span, TimedSegment, cut_span, edges_ms, usual_interval
from archive.errors import MediaRefused, ProcessError
from archive.ladder.transcode import EncoderBudget, blame_a_full_disk
from archive.media.ffmpeg import PIXELS_MAX
from archive.media.probe import PROBE_LIMITS
from archive.media.process import Limits, ProcessRunner, ProgressReader
from archive.objects.keys import SEGMENT, source_segment_key
from runtime.objects import ObjectStore

log = structlog.get_logger(__name__)

# A packet is told in about 50 bytes; a segment without key frames may be minutes long.
LOOK_LIMITS = replace(PROBE_LIMITS, stdout_bytes_max=16 << 20)
SILENCE_SECONDS = 30.0
STOP_GRACE_SECONDS = 2.0
OUTPUT_BYTES_FLOOR = 64 << 20
BITS_PER_SECOND_FLOOR = 1_000_000
# After a connect sound may be alone until the first key frame: then it tells when the segment begins.
SOUND_ALONE_TICKS = 250 * TICKS_PER_MS


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment as it is: when its pictures and its packets of sound are, and how the picture was encoded.

    Times are in ticks of 1/90,000 s, in the order of the file.
    """

    picture_times: Sequence[int]
    sound_times: Sequence[int]
    pixel_format: str = PIXEL_FORMAT_ELSE
    profile: str | None = None

    @property
    def origin(self) -> int:
        """When the segment begins: with its first picture, or with sound that is alone before it."""
        first_sound = min(self.sound_times, default=None)
        first_picture = min(self.picture_times, default=first_sound)
        assert first_picture is not None  # noqa: S101  read_look refuses what has neither
        if first_sound is not None and first_sound < first_picture - SOUND_ALONE_TICKS:
            return first_sound
        return first_picture


@dataclass(frozen=True, slots=True)
class MadePiece:
    """What was left of a segment, in the store; ``range`` is where it really begins and ends in its recording."""

    size_bytes: int
    range: ClipRange


class Cutter:
    """Makes the pieces of a clip that are no copies."""

    def __init__(
        self, objects: ObjectStore, runner: ProcessRunner, budget: EncoderBudget, *, work_directory: Path
    ) -> None:
        self._objects = objects
        self._runner = runner
        self._budget = budget
        self._work_directory = work_directory

    async def cut(self, original_id: UUID, piece: Piece, target_key: str) -> MadePiece | None:
        """Make and store what stays of the segment; None when no picture is between the edges.

        Raises MediaRefused, ProcessError, ObjectMissing, StoreUnavailable; leaves no file behind.
        """
        with tempfile.TemporaryDirectory(dir=self._work_directory, prefix="clip-") as directory:
            source, after, target = (Path(directory) / name for name in ("source.ts", "after.ts", "cut.ts"))
            await self._fetch(original_id, piece.sources, source)
            await self._fetch(original_id, [] if piece.sound_from is None else [piece.sound_from], after)
            try:
                cut = await self._cut(piece, source, after, target)
            except (ProcessError, MediaRefused) as error:
                await asyncio.to_thread(blame_a_full_disk, self._work_directory, error)
                raise
            if cut is None:
                return None
            stored = await self._objects.put_file(target_key, target, SEGMENT)
        return MadePiece(stored.size_bytes, cut)

    async def _fetch(self, original_id: UUID, segments: Sequence[TimedSegment], target: Path) -> None:
        """Segments in one file: MPEG-TS packets of one encoder run are a transport stream again when put together."""
        part = target.with_suffix(".part")
        for segment in segments:
            await self._objects.get_file(source_segment_key(original_id, segment.segment.sequence), part)
            await asyncio.to_thread(_append, part, target)

    async def _cut(self, piece: Piece, source: Path, after: Path, target: Path) -> ClipRange | None:
        segment = await self._look(source)
        following = None if piece.sound_from is None else await self._look(after)
        times = segment.picture_times or segment.sound_times
        span = cut_span(times, piece, origin=segment.origin)
        if span is None:
            return None
        if following is not None:
            await asyncio.to_thread(_append, after, source)
        kept = _kept(segment, following, piece, span)
        frames = await self._run(segment, piece, kept, source, target)
        if piece.is_cut and segment.picture_times and not frames:
            raise MediaRefused("no picture could be decoded")
        await self._judge(segment, span, target)
        return edges_ms(piece, span, origin=segment.origin)

    async def _run(self, segment: Segment, piece: Piece, kept: _Kept, source: Path, target: Path) -> int:
        """Let ffmpeg do it; how many pictures it says it has made."""
        progress = ProgressReader()
        if piece.is_cut:
            picture = _picture(segment, piece) if segment.picture_times else None
            argv = cut_arguments(
                source,
                target,
                picture=picture,
                pictures=kept.pictures,
                sound=kept.sound,
                threads=self._budget.threads,
            )
        else:
            argv = parted_arguments(source, target, pictures=kept.pictures, sound=kept.sound)
        await self._runner.run(argv, self._limits(piece), on_output=progress)
        return progress.latest.frames or 0

    async def _look(self, path: Path) -> Segment:
        finished = await self._runner.run(look_arguments(path), LOOK_LIMITS)
        return read_look(finished.stdout)

    async def _judge(self, source: Segment, span: Span, target: Path) -> None:
        """An exit code of 0 is a claim; the file is the proof."""
        wanted, made = _between(source.picture_times, span), (await self._look(target)).picture_times
        if len(made) != len(wanted):
            # Pictures that a decoder cannot make anything of; those before the first key frame, too.
            log.warning("pictures_lost_in_cutting", wanted=len(wanted), made=len(made))
        if wanted and (not made or min(made) < min(wanted) or max(made) > max(wanted)):
            raise MediaRefused("the encoder made pictures that are outside the edges")

    def _limits(self, piece: Piece) -> Limits:
        return Limits(
            time_seconds=self._budget.seconds_max,
            silence_seconds=min(SILENCE_SECONDS, self._budget.seconds_max),
            stop_grace_seconds=STOP_GRACE_SECONDS,
            cpu_seconds=int(self._budget.seconds_max * (self._budget.threads + 1)),
            memory_bytes=self._budget.memory_bytes_max,
            file_bytes=OUTPUT_BYTES_FLOOR + 4 * sum(source.segment.size_bytes for source in piece.sources),
            nice=self._budget.nice,
        )


def read_look(text: bytes) -> Segment:
    """The segment that ffprobe told of. Raises MediaRefused when it cannot be cut."""
    told: dict[str, Any] = json.loads(text or b"{}")
    streams: list[dict[str, Any]] = told.get("streams", [])
    sound = next((one for one in streams if one.get("codec_type") == "audio"), None)
    # A picture that is declared and has no size is not there.
    video = next((one for one in streams if one.get("codec_type") == "video" and int(one.get("width", 0)) > 0), None)
    segment = Segment(_times(told, video), _times(told, sound))
    if not segment.picture_times and not segment.sound_times:
        raise MediaRefused("there is neither picture nor sound in it")
    if video is None or not segment.picture_times:
        return segment
    if video.get("codec_name") != "h264":
        raise MediaRefused(f"exact edges can be made of H.264 alone, not of {video.get('codec_name')}")
    if int(video["width"]) * int(video.get("height", 0)) > PIXELS_MAX:
        raise MediaRefused(f"the picture has more than {PIXELS_MAX} pixels")
    pixel_format = str(video.get("pix_fmt"))
    if pixel_format not in PIXEL_FORMATS:
        return segment
    return replace(segment, pixel_format=pixel_format, profile=PROFILES.get(str(video.get("profile"))))


def _times(told: Mapping[str, Any], stream: Mapping[str, Any] | None) -> list[int]:
    if stream is None:
        return []
    packets: list[dict[str, Any]] = told.get("packets", [])
    return [int(one["pts"]) for one in packets if one.get("stream_index") == stream["index"] and "pts" in one]


def _picture(segment: Segment, piece: Piece) -> Picture:
    size_bytes = sum(source.segment.size_bytes for source in piece.sources)
    bits_per_second = size_bytes * 8_000 // max(1, piece.ends_ms - piece.starts_ms)
    return Picture(segment.pixel_format, segment.profile, max(BITS_PER_SECOND_FLOOR, bits_per_second * 3 // 2))


@dataclass(frozen=True, slots=True)
class _Kept:
    """What stays of the joined segments."""

    pictures: Bounds
    sound: Bounds


def _kept(segment: Segment, following: Segment | None, piece: Piece, span: Span) -> _Kept:
    """What stays of picture and sound. The edges of sound are moved to between two packets: the nearest ones stay."""
    first: int | None = span.first
    if first is None and piece.sound_with_picture:
        first = segment.origin
    next_picture = None if following is None else min(following.picture_times, default=None)
    sound_end = span.end
    if sound_end is None and following is not None:
        sound_end = following.origin
    half = usual_interval(sorted(segment.sound_times)) / 2
    sound = Bounds(None if first is None else first - half, None if sound_end is None else sound_end - half)
    return _Kept(Bounds(span.first, next_picture if span.end is None else span.end), sound)


def _between(times: Sequence[int], span: Span) -> list[int]:
    return [
        time for time in times if (span.first is None or time >= span.first) and (span.end is None or time < span.end)
    ]


def _append(part: Path, target: Path) -> None:
    with target.open("ab") as file, part.open("rb") as source:
        shutil.copyfileobj(source, file)
