"""Does the jobs of chunks: one segment of every rendition, by one decode of the source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from archive.errors import MediaRefused
from archive.jobs.jobs import LeasedJob
from archive.ladder.chunks import CHUNK, Chunks
from archive.ladder.progress import note_progress
from archive.ladder.transcode import EncoderBudget, Transcoder
from archive.objects.keys import chunk_name, rendition_key
from archive.parts import ArchiveParts
from archive.store import QUERIES, Recordings
from eventbus.outbox import Transaction
from runtime.objects import ObjectStore, ObjectStoreError
from runtime.postgres import Pool


class ChunkKind:
    """The kind `chunk`."""

    name = CHUNK

    def __init__(self, pool: Pool, objects: ObjectStore, transcoder: Transcoder) -> None:
        self._recordings = Recordings(pool)
        self._chunks = Chunks(pool)
        self._objects = objects
        self._transcoder = transcoder

    async def do(self, job: LeasedJob, report: Callable[[float], None]) -> Mapping[str, Any]:
        """See JobKind; the result says size and codecs for each rendition."""
        wanted = await self._chunks.wanted(job.stream_id)
        if not wanted:
            raise MediaRefused("no rendition is wanted any more")
        first, last = job.particulars["first_sequence"], job.particulars["last_sequence"]
        segments = await self._recordings.segment_range(job.stream_id, first, last)
        made = await self._transcoder.make(job, segments, wanted, report)
        return {name: {"size_bytes": one.size_bytes, "codecs": one.codecs} for name, one in made.items()}

    async def finish(self, transaction: Transaction, job: LeasedJob, result: Mapping[str, Any]) -> None:
        """Note how far the ladder is, and the codecs as long as nobody has."""
        await note_progress(transaction, job.stream_id, number=job.number)
        for name, made in result.items():
            if made["codecs"] is not None:
                await QUERIES.note_codecs(
                    transaction.connection, stream_id=job.stream_id, name=name, codecs=made["codecs"]
                )

    async def give_up(self, transaction: Transaction, job: LeasedJob, reason: str) -> None:
        """Go on without it; completion judges what that makes of the ladder."""
        await note_progress(transaction, job.stream_id, number=job.number)

    async def discard(self, job: LeasedJob, result: Mapping[str, Any]) -> None:
        """Remove the segments: nobody names them, since the winner's have another fence in their names."""
        for name in result:
            with suppress(ObjectStoreError):
                await self._objects.delete(rendition_key(job.stream_id, name, chunk_name(job.number, job.fence)))


def chunk_kind(parts: ArchiveParts) -> ChunkKind:
    """The kind as a worker has it."""
    settings = parts.settings
    budget = EncoderBudget(
        encoder=settings.encoder,
        threads=settings.archive_worker_threads,
        nice=settings.archive_worker_nice,
        seconds_max=settings.archive_worker_job_seconds_max,
        memory_bytes_max=settings.archive_worker_job_memory_bytes_max,
    )
    transcoder = Transcoder(
        parts.objects,
        parts.runner,
        budget,
        work_directory=parts.work_directory,
        encoders_at_once=settings.archive_worker_jobs_at_once,
    )
    return ChunkKind(parts.pool, parts.objects, transcoder)
