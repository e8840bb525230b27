"""The archive's processes: `python -m archive intake`, `… shipper` and `… worker`."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from archive.clips.kind import clip_kind
from archive.clips.part import clips
from archive.downloads.kind import Downloads
from archive.downloads.part import downloads
from archive.intake import SUBSCRIPTION
from archive.jobs.jobs import JobKind, Jobs
from archive.jobs.worker import Worker
from archive.ladder.chunk_kind import chunk_kind
from archive.ladder.completion import Completion
from archive.ladder.planner import ladder_planner
from archive.library.api import ArchiveApi
from archive.library.part import library
from archive.media.process import ProcessRunner, network_can_be_dropped
from archive.objects.store_configured import open_objects
from archive.parts import ArchiveParts
from archive.people.events import SUBSCRIPTION as PEOPLE
from archive.people.part import erasures
from archive.pictures.poster import Posters
from archive.pictures.storyboard import Storyboards
from archive.publishing.finalise import Finaliser
from archive.publishing.rewind_api import rewinds
from archive.publishing.source_probe import SourceProbe
from archive.retention.part import retention
from archive.settings import ArchiveSettings
from archive.shipping.hooks import segment_hooks
from archive.shipping.rows import Shipments
from archive.shipping.shipper import Shipper, ShipperPace
from archive.shipping.spool_room import SpoolLimits
from archive.store import Recordings, make_partitions
from eventbus.bus import EventBus
from eventbus.bus_configured import open_bus
from eventbus.consume import ConsumeLoop
from eventbus.outbox import Outbox
from runtime.assembly import Assembly
from runtime.guards import redis_guards
from runtime.health import Health
from runtime.http_server import HttpServer
from runtime.migrations import wait_until_migrated
from runtime.monthly_partitions import MonthlyPartitions
from runtime.objects import ObjectStore
from runtime.postgres import Pool, open_pool
from runtime.process import run_process
from runtime.read_pool import ReadPool, open_read_pool
from runtime.redis_client import redis_client
from runtime.service import Service
from runtime.supervise import supervise
from runtime.tokens import TokenVerifier

SCHEMA = "archive"
# What a killed process left behind; nothing of ours takes so long.
LEFTOVER_SECONDS = 6 * 3_600.0
# A worker fetches the source of one job more than it has encoders, so that none of them waits for the store.
PREPARED_JOBS = 1


INTAKE_PARTS: Sequence[Callable[[ArchiveParts], Assembly]] = (
    ladder_planner,
    library,
    clips,
    downloads,
    retention,
    rewinds,
    erasures,
)
"""What else the intake does, each part put together by a function of its own."""
SHIPPER_PARTS: Sequence[Callable[[ArchiveParts], Assembly]] = (segment_hooks,)
"""The same of the shipper."""
WORKER_KINDS: Sequence[Callable[[ArchiveParts], JobKind]] = (chunk_kind, clip_kind, Posters, Storyboards, Downloads)
"""What a worker can do, each kind put together by a function of its own."""


@dataclass(frozen=True)
class Shared:
    """What the archive's processes have in common; in one process, all of it once."""

    pool: Pool
    reads: ReadPool
    objects: ObjectStore
    runner: ProcessRunner


async def serve_intake(settings: ArchiveSettings) -> None:
    """Hear of streams, finalise their recordings, answer the API, carry the schema's events."""
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(open_bus(settings))
        shared, health = await open_shared(stack, settings), Health()
        verifier = TokenVerifier(settings.jwks_url, settings.token_issuer)
        health.watch("signing-keys", verifier.check)
        intake = await assemble_intake(settings, shared, bus, health)
        await _supervise(settings, intake, health, verifier)


async def serve_shipper(settings: ArchiveSettings) -> None:
    """Ship segments from the media server's disk."""
    async with AsyncExitStack() as stack:
        shared, health = await open_shared(stack, settings), Health()
        await _supervise(settings, await assemble_shipper(settings, shared, health), health)


async def serve_worker(settings: ArchiveSettings) -> None:
    """Make renditions."""
    async with AsyncExitStack() as stack:
        shared, health = await open_shared(stack, settings), Health()
        await _supervise(settings, await assemble_worker(settings, shared, health), health)


async def open_shared(stack: AsyncExitStack, settings: ArchiveSettings) -> Shared:
    """Open the database, the object store and the runner of children; ``stack`` closes them."""
    pool = await stack.enter_async_context(open_pool(settings, schema=SCHEMA))
    await wait_until_migrated(pool, schema=SCHEMA)
    objects = await stack.enter_async_context(open_objects(settings))
    reads = await stack.enter_async_context(open_read_pool(settings, pool, schema=SCHEMA))
    return Shared(pool, reads, objects, ProcessRunner(without_network=await network_can_be_dropped()))


async def assemble_intake(settings: ArchiveSettings, shared: Shared, bus: EventBus, health: Health) -> Assembly:
    """What hears of streams and finalises their recordings."""
    parts = await _parts(settings, shared, health)
    outbox, recordings = parts.outbox, parts.recordings
    health.watch("object-store", shared.objects.check)
    finaliser = Finaliser(
        recordings,
        outbox,
        shared.objects,
        SourceProbe(shared.objects, shared.runner, parts.work_directory),
        playback_path=settings.archive_playback_path,
        abandoned_seconds=settings.archive_abandoned_seconds,
    )
    services: list[Service] = [
        ConsumeLoop(bus, outbox, SUBSCRIPTION, health=health),
        ConsumeLoop(bus, outbox, PEOPLE, health=health),
        bus.relay(settings.postgres_dsn, outbox, schema=SCHEMA, health=health),
        MonthlyPartitions(shared.pool, make_partitions),
        finaliser,
        shared.reads,
    ]
    api = ArchiveApi(Recordings(shared.pool, shared.reads), playback_path=settings.archive_playback_path)
    intake = Assembly(apis=[api], services=services, reads=shared.reads)
    return _joined(intake, [assemble(parts) for assemble in INTAKE_PARTS])


async def assemble_shipper(settings: ArchiveSettings, shared: Shared, health: Health) -> Assembly:
    """What ships segments; it stands beside the media server."""
    parts = await _parts(settings, shared, health)
    shipper = Shipper(
        settings.archive_hls_directory,
        Shipments(shared.pool),
        shared.objects,
        shared.runner,
        ShipperPace(
            poll_seconds=settings.archive_shipper_poll_seconds,
            uploads_at_once=settings.archive_shipper_uploads_at_once,
            uploads_per_stream=settings.archive_shipper_uploads_per_stream,
            directories_max=settings.archive_shipper_directories_max,
            keep_seconds=settings.archive_shipper_keep_seconds,
        ),
        SpoolLimits(
            bytes_max=settings.archive_spool_bytes_max,
            reserve_bytes=settings.archive_spool_reserve_bytes,
            keep_seconds=settings.archive_shipper_keep_seconds,
        ),
    )
    health.watch("object-store", shared.objects.check)
    health.watch("hls-directory", shipper.check)
    health.watch("spool", shipper.room.check)
    return _joined(Assembly(services=[shipper]), [assemble(parts) for assemble in SHIPPER_PARTS])


async def assemble_worker(settings: ArchiveSettings, shared: Shared, health: Health) -> Assembly:
    """What makes renditions, and completes the recordings that have theirs."""
    parts = await _parts(settings, shared, health)
    health.watch("object-store", shared.objects.check)
    worker = Worker(
        Jobs(shared.pool, lease_seconds=settings.archive_worker_lease_seconds),
        parts.outbox,
        [kind(parts) for kind in WORKER_KINDS],
        jobs_at_once=settings.archive_worker_jobs_at_once + PREPARED_JOBS,
        attempts_max=settings.archive_worker_attempts_max,
    )
    completion = Completion(shared.pool, parts.outbox, shared.objects)
    return Assembly(services=[worker, completion])


async def _parts(settings: ArchiveSettings, shared: Shared, health: Health) -> ArchiveParts:
    return ArchiveParts(
        settings=settings,
        pool=shared.pool,
        objects=shared.objects,
        runner=shared.runner,
        outbox=Outbox(shared.pool, source=SCHEMA),
        recordings=Recordings(shared.pool),
        health=health,
        work_directory=await asyncio.to_thread(_work_directory, settings.archive_work_directory),
    )


def _joined(first: Assembly, others: Sequence[Assembly]) -> Assembly:
    return Assembly(
        apis=[*first.apis, *(api for other in others for api in other.apis)],
        services=[*first.services, *(service for other in others for service in other.services)],
        reads=first.reads,
    )


async def _supervise(
    settings: ArchiveSettings, process: Assembly, health: Health, verifier: TokenVerifier | None = None
) -> None:
    # not waited for: without Redis requests are not counted, and all else works
    async with redis_client(settings) as redis:
        guards = redis_guards(redis, settings)
        server = HttpServer(
            process.apis,
            settings=settings,
            verifier=verifier,
            health=health,
            guards=guards,
            reads=process.reads,
        )
        own = [server] if verifier is None else [server, verifier]
        await supervise([*own, *process.services], stop_grace_seconds=settings.stop_grace_seconds)


def _work_directory(directory: Path) -> Path:
    """Make the directory for pieces of media, and clear it of what killed processes left."""
    directory.mkdir(parents=True, exist_ok=True)
    # Every kind of job and every probe has directories of its own, named after it.
    for leftover in directory.glob("*-*"):
        if leftover.stat().st_mtime < time.time() - LEFTOVER_SECONDS:
            shutil.rmtree(leftover, ignore_errors=True)
    return directory


PROCESSES: dict[str, Callable[[ArchiveSettings], Awaitable[None]]] = {
    "intake": serve_intake,
    "shipper": serve_shipper,
    "worker": serve_worker,
}


def main() -> NoReturn:
    """Be the process that the first argument names."""
    chosen = sys.argv[1] if len(sys.argv) == 2 else ""
    if chosen not in PROCESSES:
        sys.exit(f"usage: python -m archive {'|'.join(PROCESSES)}")
    run_process(f"archive-{chosen}", ArchiveSettings, PROCESSES[chosen])


if __name__ == "__main__":
    main()
