"""Ships every closed segment to the object store while its stream runs, and settles the directory when it is over.

So a recording needs no upload at the end, and a dead machine costs at most the segment that was being written. A store
that is away is waited for: the media server's disk is the spool, within bounds (`spool_room`).
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import structlog

from archive import metrics
from archive.media.process import ProcessRunner
from archive.outages import SUSPECTS, is_outage
from archive.shipping.follower import Follower, ShippingGear
from archive.shipping.patience import Patience
from archive.shipping.rows import Shipments
from archive.shipping.spool import Seen, Spool, stream_directories
from archive.shipping.spool_room import SpoolLimits, SpoolRoom
from archive.shipping.turns import Turns
from archive.shipping.uploads import VerifiedUploads
from runtime.objects import ObjectStore

log = structlog.get_logger(__name__)

# How soon a stream's end is seen; it is part of the time until the recording plays.
ENDED_POLL_SECONDS = 0.15


@dataclass(frozen=True, slots=True)
class ShipperPace:
    """How eager the shipper is, and how much it takes on."""

    poll_seconds: float = 0.5
    uploads_at_once: int = 12
    uploads_per_stream: int = 3
    directories_max: int = 2_000
    keep_seconds: float = 3_600.0
    sweep_seconds: float = 10.0
    tidy_seconds: float = 1.0


class Shipper:
    """Follows the directories below one HLS root. A service."""

    name = "shipper"

    def __init__(
        self,
        root: Path,
        shipments: Shipments,
        objects: ObjectStore,
        runner: ProcessRunner,
        pace: ShipperPace,
        limits: SpoolLimits | None = None,
    ) -> None:
        self._root = root
        self._shipments = shipments
        self._pace = pace
        self._patience = Patience()
        self._gear = ShippingGear(
            shipments,
            VerifiedUploads(objects),
            runner,
            Turns(pace.uploads_at_once),
            self._patience,
            pace.uploads_per_stream,
        )
        self.room = SpoolRoom(root, limits or SpoolLimits(keep_seconds=pace.keep_seconds))
        self._followers: dict[UUID, Follower] = {}
        # Streams that are over and whose copies are still here.
        self._settled: dict[UUID, Spool] = {}

    async def run(self) -> None:
        """Ship until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._shipments.run())
            tasks.create_task(self._watch_ends(tasks))
            tasks.create_task(self._watch_disk(tasks))
            tasks.create_task(self._keep_room())
            tasks.create_task(self._keep_swept())

    def check(self) -> None:
        """Raise with the reason while there is nothing to ship from."""
        if not self._root.is_dir():
            raise NotADirectoryError(f"the HLS directory {self._root} is not there")

    async def _watch_ends(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            unsettled = await self._patience.until_done("look_for_ends", self._shipments.unsettled)
            for stream_id, traceparent in unsettled.items():
                self._follow(stream_id, tasks).end(traceparent)
            await asyncio.sleep(ENDED_POLL_SECONDS)

    async def _watch_disk(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            started = time.monotonic()
            await self._look()
            try:
                await self._discover(tasks)
            except SUSPECTS as error:
                if not is_outage(error):
                    raise
                # Not waited for: what playlists tell of the streams that we know must be read meanwhile.
                self._patience.tell("discover", error)
            await asyncio.sleep(max(0.0, self._pace.poll_seconds - (time.monotonic() - started)))

    async def _look(self) -> None:
        followers = [follower for follower in self._followers.values() if follower.begun]
        seen = await asyncio.to_thread(_look_at, [follower.spool for follower in followers])
        for follower, news in zip(followers, seen, strict=True):
            # One that has ended meanwhile looks for itself.
            if follower.begun:
                follower.take(news)

    async def _discover(self, tasks: asyncio.TaskGroup) -> None:
        try:
            present, cut = await asyncio.to_thread(
                stream_directories, self._root, directories_max=self._pace.directories_max
            )
        except FileNotFoundError:
            # The media server has not started yet; readiness says so.
            return
        if cut:
            log.error("too_many_directories", directories_max=self._pace.directories_max)
        for gone in self._settled.keys() - present.keys():
            del self._settled[gone]
        unknown = [one for one in present if one not in self._followers and one not in self._settled]
        if not unknown:
            return
        over = await self._shipments.settled_among(unknown)
        for stream_id in unknown:
            if stream_id not in over:
                self._follow(stream_id, tasks)
            elif stream_id not in self._followers:
                spool = Spool(present[stream_id])
                self._settled[stream_id] = Spool.of_settled(spool.directory, await asyncio.to_thread(spool.files))

    def _follow(self, stream_id: UUID, tasks: asyncio.TaskGroup) -> Follower:
        follower = self._followers.get(stream_id)
        if follower is None:
            self._settled.pop(stream_id, None)
            follower = Follower(stream_id, Spool(self._root / str(stream_id)), self._gear)
            self._followers[stream_id] = follower
            tasks.create_task(self._run_follower(follower), name=f"follow-{stream_id}")
            metrics.directories_followed.set(len(self._followers))
        return follower

    async def _run_follower(self, follower: Follower) -> None:
        with structlog.contextvars.bound_contextvars(stream_id=str(follower.stream_id)):
            await follower.run()
        del self._followers[follower.stream_id]
        self._settled[follower.stream_id] = follower.spool
        metrics.directories_followed.set(len(self._followers))

    async def _keep_room(self) -> None:
        # Needs nobody but the disk: while Postgres or the store are away is when it fills.
        while True:
            followers = [follower for follower in self._followers.values() if follower.begun]
            await self.room.tidy(followers, list(self._settled.values()))
            await asyncio.sleep(self._pace.tidy_seconds)

    async def _keep_swept(self) -> None:
        while True:
            await self._patience.until_done("sweep", self._sweep)
            await asyncio.sleep(self._pace.sweep_seconds)

    async def _sweep(self) -> None:
        """Remove what is left of recordings that have played from the store for the keep time."""
        for stream_id in await self._shipments.played_for(self._pace.keep_seconds, list(self._settled)):
            spool = self._settled.get(stream_id)
            if spool is not None:
                await asyncio.to_thread(shutil.rmtree, spool.directory, ignore_errors=True)
                log.info("local_segments_removed", stream_id=str(stream_id))


def _look_at(spools: Sequence[Spool]) -> list[Seen | None]:
    return [spool.look() for spool in spools]
