"""Completes recordings whose jobs are all done: rendition playlists, then the master, then the row and the event."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog

from archive import metrics
from archive.chunks import Chunks, ChunkState, FinishedLadder, make_again
from archive.objects import INDEX, PLAYLIST, ObjectStore, chunk_name, master_key, rendition_key
from archive.outages import SUSPECTS, is_outage
from archive.outcome import complete, fail
from archive.playlist import PlaylistEntry, Variant, bits_per_second, master_playlist, vod_playlist
from archive.store import QUERIES
from eventbus.outbox import Outbox
from runtime.backoff import Backoff
from runtime.postgres import Pool
from runtime.trace import trace_scope

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.3
LADDERS_MAX = 10


@dataclass(frozen=True, slots=True)
class _Judged:
    """The renditions that play, best first, and why the others do not."""

    variants: dict[str, Variant]
    failures: list[str]


class Completion:
    """Completes recordings. A service; any number of processes may run one: the row changes once."""

    name = "completion"

    def __init__(self, pool: Pool, outbox: Outbox, objects: ObjectStore) -> None:
        self._pool = pool
        self._chunks = Chunks(pool)
        self._outbox = outbox
        self._objects = objects

    async def run(self) -> None:
        """Complete until cancelled."""
        backoff = Backoff(first_seconds=0.2, ceiling_seconds=5.0)
        while True:
            try:
                await self.complete_finished()
                backoff.reset()
            except SUSPECTS as error:
                if not is_outage(error):
                    raise
                log.warning("completion_waits", reason=str(error) or type(error).__name__)
                await backoff.wait()
            await asyncio.sleep(POLL_SECONDS)

    async def complete_finished(self) -> None:
        """Complete every recording that has no job left."""
        for ladder in await self._chunks.finished_ladders(rows_max=LADDERS_MAX):
            with (
                trace_scope(ladder.traceparent),
                structlog.contextvars.bound_contextvars(stream_id=str(ladder.stream_id)),
            ):
                await self._complete(ladder)

    async def _complete(self, ladder: FinishedLadder) -> None:
        stream_id = ladder.stream_id
        judged = _Judged({}, [])
        for row in await QUERIES.list_renditions(self._pool, stream_id=stream_id):
            if row["state"] == "ready":
                judged.variants[row["name"]] = _variant(
                    row, row["bits_per_second_peak"], row["bits_per_second_average"]
                )
            elif not await self._complete_rendition(stream_id, row, judged):
                return
        # Last of all objects: whoever reads it finds everything that it names.
        master = master_playlist(list(judged.variants.values()))
        await self._objects.put_bytes(master_key(stream_id), master.encode(), PLAYLIST)
        await self._say(stream_id, judged)

    async def _complete_rendition(self, stream_id: UUID, row: Mapping[str, Any], judged: _Judged) -> bool:
        """Write one rendition's playlist; false when the store lacks some of it, which is then made again."""
        name = row["name"]
        chunks = await self._chunks.all(stream_id)
        if any(chunk.state == "failed" for chunk in chunks):
            # Those that were given up because of another have no reason of their own.
            reason = next((chunk.failure for chunk in chunks if chunk.state == "failed" and chunk.failure), "failed")
            judged.failures.append(f"{name}: {reason}")
            return True
        if not await self._all_in_store(stream_id, name, chunks):
            return False
        entries = [
            PlaylistEntry(chunk_name(chunk.number, chunk.fence), chunk.duration_ms, chunk.discontinuity)
            for chunk in chunks
        ]
        index = rendition_key(stream_id, name, INDEX)
        await self._objects.put_bytes(index, vod_playlist(entries).encode(), PLAYLIST)
        peak, average = bits_per_second([(chunk.made[name].size_bytes, chunk.duration_ms) for chunk in chunks])
        judged.variants[name] = _variant(row, peak, average)
        return True

    async def _all_in_store(self, stream_id: UUID, rendition: str, chunks: Sequence[ChunkState]) -> bool:
        prefix = rendition_key(stream_id, rendition, "")
        sizes = {stored.key: stored.size_bytes async for stored in self._objects.list(prefix)}
        absent = [
            chunk.number
            for chunk in chunks
            if sizes.get(prefix + chunk_name(chunk.number, chunk.fence)) != chunk.made[rendition].size_bytes
        ]
        if absent:
            log.error("chunks_not_in_store", rendition=rendition, absent=absent[:20], absent_chunks=len(absent))
            async with self._pool.acquire() as connection, connection.transaction():
                await make_again(connection, stream_id, absent)
        return not absent

    async def _say(self, stream_id: UUID, judged: _Judged) -> None:
        now = datetime.now(UTC)
        async with self._outbox.transaction() as transaction:
            for name, variant in judged.variants.items():
                await QUERIES.ready_rendition(
                    transaction.connection,
                    stream_id=stream_id,
                    name=name,
                    peak=variant.bits_per_second_peak,
                    average=variant.bits_per_second_average,
                )
            if judged.failures:
                await QUERIES.fail_renditions(transaction.connection, stream_id=stream_id)
                said = await fail(transaction, stream_id, reason="; ".join(judged.failures), now=now)
            else:
                await complete(transaction, stream_id, renditions=tuple(judged.variants), now=now)
                said = False
        if said:
            metrics.recordings_failed.labels("ladder").inc()


def _variant(row: Mapping[str, Any], peak: int, average: int) -> Variant:
    return Variant(
        uri=f"{row['name']}/{INDEX}",
        width_px=row["width_px"],
        height_px=row["height_px"],
        frame_rate=row["frame_rate"],
        codecs=row["codecs"],
        bits_per_second_peak=peak,
        bits_per_second_average=average,
    )
