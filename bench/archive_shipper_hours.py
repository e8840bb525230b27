"""A shipper and a stream of ten hours in one process, as fast as it goes: `python -m bench.archive_shipper_hours DIR`.

Prints the resident memory in bytes after a tenth of the segments, and after all. The store takes everything and keeps
nothing; rows, playlists, files and their removal are as ever.
"""

import asyncio
import hashlib
import os
import shutil
import sys
from pathlib import Path

import psutil
from pydantic import SecretStr

from archive.media.process import ProcessRunner
from archive.shipping.rows import Shipments
from archive.shipping.shipper import Shipper, ShipperPace
from archive.shipping.spool_room import SpoolLimits
from bench.archive_shipper_scene import SimulatedStream
from runtime.ids import uuid7
from runtime.logs import configure_logging
from runtime.objects import ObjectKind, StoredObject
from runtime.objects_disk import DiskObjects
from runtime.postgres import Pool, open_pool
from runtime.settings import PostgresSettings

SEGMENTS = 18_000
AT_ONCE = 50
WINDOW_SEGMENTS = 60
POLL_SECONDS = 0.02


class TakesEverything(DiskObjects):
    """Acknowledges each file by its digest, as a store does, and forgets it."""

    async def put_file(self, key: str, path: Path, kind: ObjectKind) -> StoredObject:
        """See the port."""
        body = await asyncio.to_thread(path.read_bytes)
        return StoredObject(key, len(body), md5=hashlib.md5(body, usedforsecurity=False).hexdigest())


async def run(directory: Path) -> None:
    """Ship them all."""
    settings = PostgresSettings(postgres_dsn=SecretStr(os.environ["LIVESTREAM_POSTGRES_DSN"]))
    hls = directory / "hls"
    hls.mkdir(parents=True)
    prepared = directory / "prepared.ts"
    prepared.write_bytes(os.urandom(2_000))
    # The files are written now and their copies go at once, as after the keep time.
    pace, limits = ShipperPace(poll_seconds=POLL_SECONDS), SpoolLimits(keep_seconds=0.0)
    async with open_pool(settings, schema="archive") as pool, TakesEverything(directory / "objects") as objects:
        stream = SimulatedStream(hls / str(uuid7()), [prepared], window_segments=WINDOW_SEGMENTS)
        runner = ProcessRunner(without_network=False)
        shipper = asyncio.create_task(Shipper(hls, Shipments(pool), objects, runner, pace, limits).run())
        try:
            sizes = [await _ship(pool, stream, share * SEGMENTS // 10) for share in (1, 10)]
        finally:
            shipper.cancel()
            await asyncio.wait([shipper])
            await pool.execute("delete from segments where stream_id = $1", stream.stream_id)
    print(*sizes)  # noqa: T201  this is what it is asked for


async def _ship(pool: Pool, stream: SimulatedStream, segments: int) -> int:
    """Close segments until there are so many and all are shipped; the memory then."""
    while len(stream.closed_at) < segments:
        for _ in range(AT_ONCE):
            stream.close()
        await _until_shipped(pool, stream, len(stream.closed_at))
    return int(psutil.Process().memory_info().rss)


async def _until_shipped(pool: Pool, stream: SimulatedStream, segments: int) -> None:
    while True:
        rows = await pool.fetchval(
            "select count(*) from segments where stream_id = $1 and sequence >= $2",
            stream.stream_id,
            segments - AT_ONCE,
        )
        if rows == AT_ONCE:
            return
        await asyncio.sleep(POLL_SECONDS / 2)


if __name__ == "__main__":
    configure_logging(service="bench", level="warning", stream=sys.stderr)
    place = Path(sys.argv[1])
    try:
        asyncio.run(run(place))
    finally:
        shutil.rmtree(place, ignore_errors=True)
