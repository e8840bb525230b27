"""Who asks for downloads, how far they are, and their end: one job for each rendition of a recording."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import structlog

from archive.downloads.kind import DOWNLOAD, written
from archive.jobs.jobs import URGENT, NewJob, add_jobs, again
from archive.outages import SUSPECTS, is_outage
from archive.recording_files import file_key
from archive.store import QUERIES
from runtime.backoff import Backoff
from runtime.objects import ObjectStore
from runtime.postgres import Connection, Pool

log = structlog.get_logger(__name__)

DownloadStatus = Literal["pending", "making", "ready", "failed"]

EXPIRED_MAX = 100
EXPIRY_POLL_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class WantedRendition:
    """A rendition that plays, as a download is made of it; ``number`` is the job's."""

    name: str
    number: int
    bytes_expected: int
    duration_ms: int
    has_picture: bool


@dataclass(frozen=True, slots=True)
class Download:
    """How far a download is; ``name`` and what follows are known once it is ready."""

    status: DownloadStatus
    progress: float
    failure: str | None
    name: str | None
    size_bytes: int | None
    expires_at: datetime | None


class DownloadRequests:
    """Downloads in Postgres."""

    def __init__(self, pool: Pool, *, keep_seconds: float) -> None:
        self._pool = pool
        self._keep = timedelta(seconds=keep_seconds)

    async def rendition(self, stream_id: UUID, name: str, *, duration_ms: int) -> WantedRendition | None:
        """A rendition of this name that plays, or None."""
        row = await QUERIES.find_rendition(self._pool, stream_id=stream_id, name=name)
        if row is None or row["state"] != "ready":
            return None
        bytes_expected = row["bits_per_second_average"] * duration_ms // 8000
        return WantedRendition(name, row["rank"], bytes_expected, duration_ms, has_picture=row["height_px"] > 0)

    async def ask(self, stream_id: UUID, wanted: WantedRendition) -> Download:
        """Have it made, unless it is there or being made; one that is there stays longer."""
        async with self._pool.acquire() as connection, connection.transaction():
            await add_jobs(connection, [_job(stream_id, wanted)])
            await QUERIES.lock_download(connection, stream_id=stream_id, number=wanted.number)
            kept = await QUERIES.keep_download(
                connection,
                stream_id=stream_id,
                rendition=wanted.name,
                expires_at=written(datetime.now(UTC) + self._keep),
            )
            # One that failed may be asked for again; so may one that has been removed.
            if not kept:
                await again(connection, stream_id, DOWNLOAD, wanted.number)
            found = await _find(connection, stream_id, wanted)
        assert found is not None  # noqa: S101  its job was added above
        return found

    async def find(self, stream_id: UUID, wanted: WantedRendition) -> Download | None:
        """How far it is; None when nobody has asked for it, or it has been removed."""
        return await _find(self._pool, stream_id, wanted)

    async def take_expired(self, now: datetime) -> list[str]:
        """The keys of downloads whose time is over; from now on nothing names them."""
        rows = await QUERIES.take_expired_downloads(self._pool, now=written(now), rows_max=EXPIRED_MAX)
        return [file_key(row["stream_id"], row["name"]) for row in rows]


class DownloadExpiry:
    """Removes downloads whose time is over. A service; any number of processes may run one."""

    name = "download-expiry"

    def __init__(self, requests: DownloadRequests, objects: ObjectStore) -> None:
        self._requests = requests
        self._objects = objects

    async def run(self) -> None:
        """Remove until cancelled."""
        backoff = Backoff(first_seconds=0.2, ceiling_seconds=30.0)
        while True:
            try:
                removed = await self.remove_expired(datetime.now(UTC))
                backoff.reset()
            except SUSPECTS as error:
                if not is_outage(error):
                    raise
                log.warning("download_expiry_waits", reason=str(error) or type(error).__name__)
                await backoff.wait()
                continue
            if removed < EXPIRED_MAX:
                await asyncio.sleep(EXPIRY_POLL_SECONDS)

    async def remove_expired(self, now: datetime) -> int:
        """Remove some; how many it was. The row goes first: what is shown is there, and an orphan is swept."""
        keys = await self._requests.take_expired(now)
        for key in keys:
            await self._objects.delete(key)
            log.info("download_removed", key=key)
        return len(keys)


def _job(stream_id: UUID, wanted: WantedRendition) -> NewJob:
    particulars = {
        "rendition": wanted.name,
        "bytes_expected": wanted.bytes_expected,
        "has_picture": wanted.has_picture,
    }
    return NewJob(stream_id, DOWNLOAD, wanted.number, particulars, work_ms=wanted.duration_ms, urgency=URGENT)


async def _find(executor: Pool | Connection, stream_id: UUID, wanted: WantedRendition) -> Download | None:
    row = await QUERIES.find_download(executor, stream_id=stream_id, rendition=wanted.name, number=wanted.number)
    return None if row is None else _download(row)


def _download(row: Any) -> Download | None:  # noqa: ANN401  asyncpg's record has no types
    state, ready = row["state"], row["name"] is not None
    if not ready and state in ("done", "dropped"):
        return None
    statuses: dict[str, DownloadStatus] = {"pending": "pending", "leased": "making", "failed": "failed"}
    return Download(
        status="ready" if ready else statuses[state],
        progress=1.0 if ready else row["progress"],
        failure=row["failure"] if state == "failed" and not ready else None,
        name=row["name"],
        size_bytes=row["size_bytes"],
        expires_at=datetime.fromisoformat(row["expires_at"]) if ready else None,
    )
