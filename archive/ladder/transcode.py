"""Does one transcoding job: fetch the chunk's source segments, encode, look at the result, store it."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import structlog

from archive.errors import MediaRefused, ProcessError, ProcessFailed
from archive.jobs.jobs import LeasedJob
from archive.ladder.chunks import WantedRendition
from archive.ladder.ladder import Rendition, SourceSegment
from archive.media.encoders import X264, Encoder
from archive.media.ffmpeg import rendition_arguments, sound_arguments
from archive.media.probe import probe
from archive.media.process import Limits, ProcessRunner, ProgressReader
from archive.media.transport_stream import TransportFacts, look_into
from archive.objects.keys import SEGMENT, chunk_name, rendition_key, source_segment_key
from runtime.objects import ObjectStore, StoreUnavailable

log = structlog.get_logger(__name__)
T = TypeVar("T")

# ffmpeg reports every half second; an encoder that says nothing for so long is stuck.
SILENCE_SECONDS = 30.0
STOP_GRACE_SECONDS = 2.0
OUTPUT_BYTES_FLOOR = 64 << 20
# With less than this left, an encoder that failed may have failed for that.
WORK_BYTES_MIN = 1 << 20


@dataclass(frozen=True, slots=True)
class EncoderBudget:
    """What one job's encoder may take."""

    encoder: Encoder = X264
    threads: int = 1
    nice: int = 19
    seconds_max: float = 300.0
    memory_bytes_max: int = 4 << 30


@dataclass(frozen=True, slots=True)
class MadeSegment:
    """One segment of a rendition in the store; ``codecs`` where they were looked at."""

    size_bytes: int
    codecs: str | None


class Transcoder:
    """Turns a chunk of the source into a segment of each rendition."""

    def __init__(
        self,
        objects: ObjectStore,
        runner: ProcessRunner,
        budget: EncoderBudget,
        *,
        work_directory: Path,
        encoders_at_once: int = 1,
    ) -> None:
        # Whoever has its source waits here for its turn, so that a core need not wait for the store.
        self._encoders = asyncio.Semaphore(encoders_at_once)
        self._objects = objects
        self._runner = runner
        self._budget = budget
        self._work_directory = work_directory

    async def make(
        self,
        job: LeasedJob,
        segments: Sequence[SourceSegment],
        wanted: Sequence[WantedRendition],
        report: Callable[[float], None],
    ) -> dict[str, MadeSegment]:
        """Make and store the chunk, by the names of the renditions; those of which it has nothing are left out.

        Raises MediaRefused, ProcessError, ObjectStoreError; leaves no file behind. A full work directory is
        StoreUnavailable too: waiting is the cure, and it is no fault of the media.
        """
        with tempfile.TemporaryDirectory(dir=self._work_directory, prefix="chunk-") as directory:
            source = Path(directory) / "source.ts"
            await self._fetch(job, segments, source)
            try:
                async with self._encoders:
                    codecs = await self._convert(job, wanted, source, report)
            except (ProcessError, MediaRefused) as error:
                await asyncio.to_thread(blame_a_full_disk, self._work_directory, error)
                raise
            made = await _together([self._store(job, name, source, codecs[name]) for name in codecs])
            return dict(zip(codecs, made, strict=True))

    async def _store(self, job: LeasedJob, name: str, source: Path, codecs: str | None) -> MadeSegment:
        path = _target(source, name)
        key = rendition_key(job.stream_id, name, chunk_name(job.number, job.fence))
        await self._objects.put_file(key, path, SEGMENT)
        return MadeSegment((await asyncio.to_thread(path.stat)).st_size, codecs)

    async def _fetch(self, job: LeasedJob, segments: Sequence[SourceSegment], source: Path) -> None:
        """Join the segments: MPEG-TS packets of one encoder run are a transport stream again when put together."""
        if not segments:
            raise MediaRefused("its source segments are gone")
        pieces = [source.with_name(f"{segment.sequence}.ts") for segment in segments]
        keys = [source_segment_key(job.stream_id, segment.sequence) for segment in segments]
        fetched = [self._objects.get_file(key, piece) for key, piece in zip(keys, pieces, strict=True)]
        for segment, size_bytes in zip(segments, await _together(fetched), strict=True):
            if size_bytes != segment.size_bytes:
                raise MediaRefused(f"segment {segment.sequence} has {size_bytes} bytes, not {segment.size_bytes}")
        await asyncio.to_thread(_join, pieces, source)

    async def _convert(
        self, job: LeasedJob, wanted: Sequence[WantedRendition], source: Path, report: Callable[[float], None]
    ) -> dict[str, str | None]:
        facts = await self._look(source)
        wanted = [one for one in wanted if facts.sounds or one.rendition.has_video]
        renditions = [one.rendition for one in wanted]
        if not renditions:
            # nginx-rtmp declares sound that nobody sends: of a small picture the sound alone may have been planned.
            return {}
        if not facts.pictures or not await self._encode(job, facts, renditions, source, report):
            for rendition in renditions:
                argv = sound_arguments(source, _target(source, rendition.name))
                await self._runner.run(argv, self._limits(job, [rendition]))
            return {rendition.name: None for rendition in renditions}
        return {one.rendition.name: await self._judge(facts, one, source) for one in wanted}

    async def _look(self, path: Path) -> TransportFacts:
        """What begins in the file; ffprobe is asked only where its headers are not plain."""
        facts = await asyncio.to_thread(look_into, path)
        if facts is not None and (facts.pictures or facts.sounds):
            return facts
        probed = await probe(self._runner, path)
        pictures = max(1, round(probed.duration_ms * probed.frame_rate / 1000)) if probed.has_video else 0
        return TransportFacts(pictures, int(probed.has_audio), probed.duration_ms)

    async def _encode(
        self,
        job: LeasedJob,
        facts: TransportFacts,
        renditions: Sequence[Rendition],
        source: Path,
        report: Callable[[float], None],
    ) -> bool:
        """Whether there was a picture to encode: packets of one without a key frame are none."""
        progress = ProgressReader()

        def heard(piece: bytes) -> None:
            progress(piece)
            report(min(1.0, (progress.latest.frames or 0) / facts.pictures))

        outputs = [(one, _target(source, one.name)) for one in renditions]
        argv = rendition_arguments(source, outputs, threads=self._budget.threads, encoder=self._budget.encoder)
        try:
            finished = await self._runner.run(argv, self._limits(job, renditions), on_output=heard)
        except ProcessFailed:
            if (await probe(self._runner, source)).has_video:
                raise
            return False
        if progress.latest.frames or not any(one.has_video for one in renditions):
            return True
        if (await probe(self._runner, source)).has_video:
            raise MediaRefused(f"no picture could be decoded: {finished.stderr_tail or 'the encoder made no frame'}")
        return False

    async def _judge(self, source: TransportFacts, wanted: WantedRendition, path: Path) -> str | None:
        """An exit code of 0 is a claim; the file is the proof. Its codecs, where nobody knows them yet."""
        rendition, target = wanted.rendition, _target(path, wanted.rendition.name)
        codecs: str | None = None
        if wanted.codecs is None:
            probed = await probe(self._runner, target)
            if (probed.width_px, probed.height_px) != (rendition.width_px, rendition.height_px):
                raise MediaRefused(f"the encoder made {probed.width_px}x{probed.height_px}")
            codecs = probed.codecs
        made = await self._look(target)
        if rendition.has_video and (made.pictures * 2 < source.pictures or made.picture_ms * 2 < source.picture_ms):
            raise MediaRefused(f"{made.pictures} of {source.pictures} pictures came out, {made.picture_ms} ms")
        if source.sounds and not made.sounds:
            raise MediaRefused("the sound did not come out")
        return codecs

    def _limits(self, job: LeasedJob, renditions: Sequence[Rendition]) -> Limits:
        bits_per_second = max((one.video_bits_per_second_max for one in renditions), default=0)
        return Limits(
            time_seconds=self._budget.seconds_max,
            silence_seconds=min(SILENCE_SECONDS, self._budget.seconds_max),
            stop_grace_seconds=STOP_GRACE_SECONDS,
            cpu_seconds=int(self._budget.seconds_max * (self._budget.threads + 1)),
            memory_bytes=self._budget.memory_bytes_max,
            file_bytes=OUTPUT_BYTES_FLOOR + 4 * (bits_per_second * job.work_ms // 8000),
            nice=self._budget.nice,
        )


async def _together(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Do all of it at once; the first error is raised when none is at work any more."""
    outcomes = await asyncio.gather(*work, return_exceptions=True)
    done: list[T] = []
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
        done.append(outcome)
    return done


def _target(source: Path, rendition: str) -> Path:
    return source.with_name(f"made-{rendition}.ts")


def blame_a_full_disk(work_directory: Path, error: Exception) -> None:
    """Raise StoreUnavailable if there is no room where ``error`` came from; an encoder does not tell it apart."""
    if shutil.disk_usage(work_directory).free < WORK_BYTES_MIN:
        reason = f"the disk of {work_directory} is full: free space on it (LIVESTREAM_ARCHIVE_WORK_DIRECTORY)"
        raise StoreUnavailable("make a rendition", reason) from error


def _join(pieces: Sequence[Path], target: Path) -> None:
    with target.open("wb") as file:
        for piece in pieces:
            with piece.open("rb") as source:
                shutil.copyfileobj(source, file)
            piece.unlink()
