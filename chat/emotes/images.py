"""Images of emotes in the object store, the newest asked for also in memory."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final
from uuid import UUID

from chat.emotes.image import STORED_BYTES_MAX
from chat.emotes.settings import EmoteSettings
from runtime.objects import ObjectKind, ObjectStore
from runtime.objects_disk import DiskObjects
from runtime.objects_disk_files import PRIVATE

if TYPE_CHECKING:
    from runtime.objects_s3 import S3Objects

KEPT_SECONDS = 30.0
"""How long a gateway may go on serving the image of an emote that is gone."""
KEPT_IMAGES_MAX = 500
KEPT_BYTES_MAX = 16 << 20
FETCHES_AT_ONCE_MAX = 16
CACHE_CONTROL: Final = "public, max-age=31536000, immutable"


EMOTES: Final = "emotes/"


def emote_key(emote_id: UUID) -> str:
    """Where the image is in the store."""
    return f"{EMOTES}{emote_id}"


def open_images(settings: EmoteSettings) -> "DiskObjects | S3Objects | None":
    """The store that the settings name, not yet prepared; None when there are to be no emotes."""
    if settings.chat_emote_store == "none":
        return None
    if settings.chat_emote_store == "disk":
        reserve_bytes = settings.chat_emote_disk_reserve_bytes
        return DiskObjects(settings.chat_emote_directory, reserve_bytes=reserve_bytes, modes=PRIVATE)
    # Imported when it is wanted: the client is a large one.
    from runtime.objects_s3 import S3Objects, S3Place

    endpoint_url = settings.chat_emote_s3_endpoint_url
    key_id, secret = settings.chat_emote_s3_access_key_id, settings.chat_emote_s3_secret_access_key
    assert endpoint_url is not None and key_id is not None and secret is not None  # noqa: S101  the settings check it
    place = S3Place(endpoint_url, settings.chat_emote_s3_bucket, key_id, secret, region=settings.chat_emote_s3_region)
    return S3Objects(place, public_read=False)


class ImageCache:
    """Images by emote, so that a crowd that sees an emote for the first time costs the store one read."""

    def __init__(
        self,
        objects: ObjectStore,
        content_type_of: Callable[[UUID], Awaitable[str | None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._objects = objects
        self._content_type_of = content_type_of
        self._clock = clock
        self._kept: OrderedDict[UUID, tuple[float, ObjectKind, bytes]] = OrderedDict()
        self._kept_bytes = 0
        self._locks: dict[UUID, asyncio.Lock] = {}
        self._fetches = asyncio.Semaphore(FETCHES_AT_ONCE_MAX)

    async def find(self, emote_id: UUID) -> tuple[ObjectKind, bytes] | None:
        """The image, or None when there is no such emote; raises ObjectStoreError."""
        kept = self._fresh(emote_id)
        if kept is not None:
            return kept
        lock = self._locks.setdefault(emote_id, asyncio.Lock())
        try:
            async with lock:
                kept = self._fresh(emote_id)
                return kept if kept is not None else await self._fetch(emote_id)
        finally:
            if self._locks.get(emote_id) is lock and not lock.locked():
                del self._locks[emote_id]

    def forget(self, emote_id: UUID) -> None:
        """The emote is gone."""
        kept = self._kept.pop(emote_id, None)
        if kept is not None:
            self._kept_bytes -= len(kept[2])

    def _fresh(self, emote_id: UUID) -> tuple[ObjectKind, bytes] | None:
        kept = self._kept.get(emote_id)
        if kept is None or self._clock() - kept[0] > KEPT_SECONDS:
            return None
        return kept[1], kept[2]

    async def _fetch(self, emote_id: UUID) -> tuple[ObjectKind, bytes] | None:
        async with self._fetches:
            content_type = await self._content_type_of(emote_id)
            if content_type is None:
                self.forget(emote_id)
                return None
            old = self._kept.get(emote_id)  # an image never changes: only whether there is one had to be looked up
            body = old[2] if old is not None else None
            if body is None:
                body = await self._objects.get_bytes(emote_key(emote_id), bytes_max=STORED_BYTES_MAX)
        kind = ObjectKind(content_type, CACHE_CONTROL)
        self.forget(emote_id)
        self._kept[emote_id] = (self._clock(), kind, body)
        self._kept_bytes += len(body)
        while len(self._kept) > KEPT_IMAGES_MAX or self._kept_bytes > KEPT_BYTES_MAX:
            self.forget(next(iter(self._kept)))
        return kind, body
