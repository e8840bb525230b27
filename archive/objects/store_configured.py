"""The object store that the settings name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from archive import metrics
from archive.settings import ObjectSettings
from runtime.backoff import Backoff
from runtime.objects import ObjectStore, StoreUnavailable
from runtime.objects_disk import DiskObjects

if TYPE_CHECKING:
    from runtime.objects_s3 import S3Objects

log = structlog.get_logger(__name__)


@asynccontextmanager
async def open_objects(settings: ObjectSettings) -> AsyncIterator[ObjectStore]:
    """The store, ready for use: its bucket or directory exists. Waits for the store, saying so."""
    store = _store(settings)
    backoff = Backoff(first_seconds=0.2, ceiling_seconds=5.0)
    while True:
        try:
            await store.__aenter__()
            break
        except StoreUnavailable as error:
            log.warning("waiting_for_object_store", reason=error.reason, attempts=backoff.attempts)
            await backoff.wait()
    try:
        yield store
    finally:
        await store.__aexit__(None, None, None)


def open_store(settings: ObjectSettings) -> AbstractAsyncContextManager[ObjectStore]:
    """The same for a command: raises StoreUnavailable at once. Raises ValueError when settings are missing."""
    return _store(settings)


def _store(settings: ObjectSettings) -> S3Objects | DiskObjects:
    if settings.archive_object_store == "disk":
        return disk_objects(settings, settings.archive_disk_directory)
    return s3_objects(settings)


def disk_objects(settings: ObjectSettings, directory: Path) -> DiskObjects:
    """The store in a directory."""
    return DiskObjects(
        directory,
        reserve_bytes=settings.archive_disk_reserve_bytes,
        on_free_bytes=metrics.disk_free_bytes.set,
    )


def s3_objects(settings: ObjectSettings) -> S3Objects:
    """The store that the settings of S3 name. Raises ValueError when some are missing."""
    endpoint_url = settings.archive_s3_endpoint_url
    key_id, secret = settings.archive_s3_access_key_id, settings.archive_s3_secret_access_key
    if endpoint_url is None or key_id is None or secret is None:
        raise ValueError(
            "the object store s3 needs LIVESTREAM_ARCHIVE_S3_ENDPOINT_URL, LIVESTREAM_ARCHIVE_S3_ACCESS_KEY_ID and "
            "LIVESTREAM_ARCHIVE_S3_SECRET_ACCESS_KEY"
        )
    # Imported when it is wanted: who keeps recordings on disk need not load the client, which is a large one.
    from runtime.objects_s3 import S3Objects, S3Place

    place = S3Place(endpoint_url, settings.archive_s3_bucket, key_id, secret, region=settings.archive_s3_region)
    return S3Objects(place, public_read=settings.archive_s3_public_read, cold_class=settings.archive_s3_cold_class)
