"""All objects of a server as one store: what the archive keeps, and the images of chat's emotes."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from archive.objects.store_configured import open_store
from chat.emotes.images import EMOTES, open_images
from console.backups.errors import NoPlaceForEmotes
from console.backups.settings import BackupSettings
from runtime.objects import EVERYTHING, ObjectKind, ObjectStore, StoredObject


class ServerObjects:
    """Keys below `emotes/` are in the store of emotes, if there is one; all others are the archive's."""

    def __init__(self, recordings: ObjectStore, emotes: ObjectStore | None) -> None:
        self._recordings = recordings
        self._emotes = emotes

    @property
    def takes_emotes(self) -> bool:
        """Whether there is a place for images of emotes."""
        return self._emotes is not None

    async def list(self, prefix: str = EVERYTHING) -> AsyncIterator[StoredObject]:
        """Every object below the prefix, in the order of the keys."""
        emotes = None if self._emotes is None else self._emotes.list(EMOTES)
        image = None if emotes is None else await anext(emotes, None)
        async for stored in self._recordings.list():
            while emotes is not None and image is not None and image.key < stored.key:
                if image.key.startswith(prefix):
                    yield image
                image = await anext(emotes, None)
            if stored.key.startswith(prefix) and not stored.key.startswith(EMOTES):
                yield stored
        while emotes is not None and image is not None:
            if image.key.startswith(prefix):
                yield image
            image = await anext(emotes, None)

    async def get_file(self, key: str, path: Path) -> int:
        """See ObjectStore."""
        return await self._of(key).get_file(key, path)

    async def head(self, key: str) -> StoredObject | None:
        """See ObjectStore."""
        return await self._of(key).head(key)

    async def put_file(self, key: str, path: Path, kind: ObjectKind) -> StoredObject:
        """See ObjectStore."""
        return await self._of(key).put_file(key, path, kind)

    def _of(self, key: str) -> ObjectStore:
        if not key.startswith(EMOTES):
            return self._recordings
        if self._emotes is None:
            raise NoPlaceForEmotes
        return self._emotes


@asynccontextmanager
async def open_server_objects(settings: BackupSettings) -> AsyncIterator[ServerObjects]:
    """The stores that the settings name. Raises StoreUnavailable; ValueError when settings are missing."""
    async with AsyncExitStack() as stack:
        recordings = await stack.enter_async_context(open_store(settings))
        images = open_images(settings)
        emotes: ObjectStore | None = None
        if images is not None:
            emotes = await stack.enter_async_context(images)
        yield ServerObjects(recordings, emotes)
