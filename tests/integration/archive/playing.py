"""Recordings that play, put into the store and the database at once, for tests of what is made of them later."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from archive.jobs.jobs import JobKind
from archive.media.playlist import PlaylistEntry, bits_per_second, vod_playlist
from archive.objects.keys import INDEX, PLAYLIST, SEGMENT, rendition_key, source_segment_key
from archive.parts import ArchiveParts
from archive.settings import ArchiveSettings
from runtime.health import Health
from tests.integration.archive.clips import Clip
from tests.integration.archive.house import House, running, until


@dataclass
class Piece:
    """One segment; ``discontinuity``: the publisher came back, or something is missing before it."""

    body: bytes
    duration_ms: int
    discontinuity: bool = False


@dataclass
class Recorded:
    """A recording's segments, in playing order."""

    pieces: list[Piece] = field(default_factory=list)

    def add(self, clip: Clip) -> Recorded:
        """A publisher comes (back) with this clip."""
        for at, (body, duration_ms) in enumerate(zip(clip.segments, clip.durations_ms, strict=True)):
            self.pieces.append(Piece(body, duration_ms, discontinuity=at == 0 and bool(self.pieces)))
        return self

    @property
    def duration_ms(self) -> int:
        return sum(piece.duration_ms for piece in self.pieces)


def parts(house: House, **settings: object) -> ArchiveParts:
    """The parts of the house's archive."""
    told: dict[str, object] = {
        "postgres_dsn": "postgresql://127.0.0.1:1/nowhere",
        "bus_backend": "postgres",
        "jwks_url": "http://127.0.0.1:1/jwks.json",
        "redis_url": "redis://127.0.0.1:1/0",
        "archive_object_store": "disk",
        "archive_worker_nice": 0,
        **settings,
    }
    return ArchiveParts(
        settings=ArchiveSettings.model_validate(told),
        pool=house.pool,
        objects=house.objects,
        runner=house.runner,
        outbox=house.outbox,
        recordings=house.recordings,
        health=Health(),
        work_directory=house.work,
    )


async def playing(house: House, recorded: Recorded, *, width_px: int = 320, height_px: int = 240) -> UUID:
    """A completed recording with its source alone."""
    stream_id = await house.started()
    await house.ended(stream_id)
    for sequence, piece in enumerate(recorded.pieces):
        await house.objects.put_bytes(source_segment_key(stream_id, sequence), piece.body, SEGMENT)
        await house.pool.execute(
            "insert into segments (stream_id, sequence, duration_ms, size_bytes, discontinuity)"
            " values ($1, $2, $3, $4, $5)",
            *(stream_id, sequence, piece.duration_ms, len(piece.body), piece.discontinuity),
        )
    entries = [PlaylistEntry(f"{at}.ts", one.duration_ms, one.discontinuity) for at, one in enumerate(recorded.pieces)]
    await add_rendition(house, stream_id, "source", entries, recorded.pieces, size=(width_px, height_px))
    await house.pool.execute(
        "update recordings set status = 'completed', settled_at = now(), segments_expected = $2, duration_ms = $3,"
        " published_at = $4, completed_at = $4, ladder_planned_at = $4 where stream_id = $1",
        *(stream_id, len(recorded.pieces), recorded.duration_ms, datetime.now(UTC)),
    )
    return stream_id


async def add_rendition(
    house: House,
    stream_id: UUID,
    name: str,
    entries: Sequence[PlaylistEntry],
    pieces: Sequence[Piece],
    *,
    size: tuple[int, int] = (0, 0),
) -> None:
    """A rendition that plays: its playlist and its row."""
    await house.objects.put_bytes(rendition_key(stream_id, name, INDEX), vod_playlist(entries).encode(), PLAYLIST)
    peak, average = bits_per_second([(len(piece.body), piece.duration_ms) for piece in pieces])
    await house.pool.execute(
        "insert into renditions (stream_id, name, rank, state, width_px, height_px, frame_rate, bits_per_second_peak,"
        " bits_per_second_average) values ($1, $2, (select count(*) from renditions where stream_id = $1), 'ready',"
        " $3, $4, 30, $5, $6)",
        *(stream_id, name, *size, peak, average),
    )


async def job_state(house: House, stream_id: UUID, kind: str) -> str | None:
    """How far the recording's job of a kind is."""
    state: str | None = await house.pool.fetchval(
        "select state from jobs where stream_id = $1 and kind = $2", stream_id, kind
    )
    return state


async def worked(house: House, stream_id: UUID, *kinds: JobKind, attempts_max: int = 1) -> None:
    """Let a worker do the recording's jobs of these kinds, whatever comes of them."""
    async with running(house.worker(*kinds, attempts_max=attempts_max)):
        for kind in kinds:

            async def over(name: str = kind.name) -> bool:
                return await job_state(house, stream_id, name) in ("done", "failed")

            await until(over)


async def fetched_file(house: House, key: str, target: Path) -> Path:
    """An object as a file."""
    await house.objects.get_file(key, target)
    return target


async def tool(*argv: str) -> str:
    """What ffmpeg or ffprobe says on stdout; it must not complain."""
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    stdout, stderr = await process.communicate()
    assert process.returncode == 0, stderr.decode()
    assert not stderr, stderr.decode()
    return stdout.decode()
