"""Emotes over HTTP: upload, list, delete, and the images themselves."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Annotated, ClassVar
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from chat.emotes.image import UPLOAD_BYTES_MAX, EmoteImage, ImageRefused, read_image
from chat.emotes.images import ImageCache
from chat.emotes.problems import (
    EmoteImageRefused,
    EmoteNameTaken,
    EmoteNotFound,
    EmotesAreOff,
    TooManyEmotes,
)
from chat.emotes.store import Emote, Emotes
from chat.emotes.urls import NAME_PATTERN, emote_url
from chat.moderation import access
from chat.problems import NotAModerator
from chat.rooms.directory import Directory
from chat.rooms.roompath import ChannelPath, RoomMissing, room_of
from runtime.endpoints import endpoint
from runtime.objects import ObjectMissing, ObjectStoreError
from runtime.pages import PageQuery, decode_cursor, encode_cursor
from runtime.postgres import Pool
from runtime.problems import PayloadTooLarge, Unavailable
from runtime.tokens import Caller

UPLOADS_WAITING_MAX = 8
UPLOAD_SECONDS_MAX = 30.0

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]


class EmoteQuery(BaseModel):
    """How the emote is to be called."""

    model_config = ConfigDict(frozen=True)

    name: Name = Field(description="3 to 25 letters, digits and underscores; upper and lower case differ.")


class EmotePath(ChannelPath):
    """Which emote of which room."""

    name: Name


class ImagePath(BaseModel):
    """Which emote."""

    model_config = ConfigDict(frozen=True)

    emote_id: UUID


class EmoteView(BaseModel):
    """An emote of a channel."""

    model_config = ConfigDict(frozen=True)

    emote_id: UUID
    name: str
    url: str = Field(description="The image, on the public origin; it never changes.")
    content_type: str
    size_bytes: int
    width_px: int
    height_px: int
    animated: bool
    added_by: UUID
    added_at: datetime


class EmotesPage(BaseModel):
    """Some emotes of a room, by name."""

    model_config = ConfigDict(frozen=True)

    items: list[EmoteView]
    next_cursor: str | None = Field(description="Give it back as `cursor` for the next page; null on the last.")


class EmoteApi:
    """Emotes of rooms. Without a store there are none: uploads say so, and lists are empty."""

    tag: ClassVar[str] = "chat"

    def __init__(self, pool: Pool, directory: Directory, emotes: Emotes | None, images: ImageCache | None) -> None:
        self._pool = pool
        self._directory = directory
        self._emotes = emotes
        self._images = images
        # One at a time: encoding takes a processor for a while, and others are chatting on it.
        self._encoder = ThreadPoolExecutor(1, thread_name_prefix="emote-encoder")
        self._waiting = 0

    @endpoint(
        "POST",
        "/api/chat/{channel_id}/emotes",
        status=201,
        problems=(
            RoomMissing, NotAModerator, EmoteNameTaken, TooManyEmotes, EmoteImageRefused, PayloadTooLarge, EmotesAreOff,
        ),
    )  # fmt: skip
    async def add_emote(self, caller: Caller, path: ChannelPath, query: EmoteQuery, request: web.Request) -> EmoteView:
        """Give a room an emote. For the streamer and moderators.

        The body is the image: PNG, GIF or WebP, 256 KiB at most, sides of 16 to 128 pixels, one at most three times the
        other, 100 frames at most. It is decoded and encoded anew, so nothing but the picture is kept.
        """
        emotes = self._on()
        await access.require(self._pool, path.channel_id, caller)
        image = await self._read(request)
        try:
            emote = await emotes.add(caller, path.channel_id, query.name, image)
        except ObjectStoreError as error:
            raise Unavailable("the image cannot be stored now; try again later", retry_after_seconds=5) from error
        return _view(emote)

    @endpoint("GET", "/api/chat/{channel_id}/emotes", problems=(RoomMissing,))
    async def list_emotes(self, path: ChannelPath, query: PageQuery) -> EmotesPage:
        """List a room's emotes by name."""
        await room_of(self._directory, path.channel_id)
        after = "" if query.cursor is None else decode_cursor(query.cursor, str)[0]
        if self._emotes is None:
            return EmotesPage(items=[], next_cursor=None)
        # One more than asked for tells whether there is a next page.
        found = await self._emotes.page(path.channel_id, after=after, rows_max=query.limit + 1)
        shown = found[: query.limit]
        more = len(found) > query.limit
        return EmotesPage(
            items=[_view(emote) for emote in shown], next_cursor=encode_cursor(shown[-1].name) if more else None
        )

    @endpoint(
        "DELETE",
        "/api/chat/{channel_id}/emotes/{name}",
        problems=(RoomMissing, NotAModerator, EmoteNotFound, EmotesAreOff),
    )
    async def delete_emote(self, caller: Caller, path: EmotePath) -> None:
        """Take an emote from a room, also where it was said before. For the streamer and moderators.

        Its image is gone within a minute, but for those who have it already.
        """
        emotes = self._on()
        emote_id = await emotes.remove(caller, path.channel_id, path.name)
        if self._images is not None:
            self._images.forget(emote_id)

    @endpoint("GET", "/api/chat/emotes/{emote_id}", problems=(EmoteNotFound,), limit=None)
    async def get_emote_image(self, path: ImagePath) -> web.StreamResponse:
        """Get the image of an emote; it may be kept for ever."""
        try:
            found = None if self._images is None else await self._images.find(path.emote_id)
        except ObjectMissing as error:
            raise EmoteNotFound("there is no such emote") from error
        except ObjectStoreError as error:
            raise Unavailable("images cannot be read now", retry_after_seconds=5) from error
        if found is None:
            raise EmoteNotFound("there is no such emote")
        kind, body = found
        headers = {
            "Cache-Control": kind.cache_control,
            "Content-Type": kind.content_type,
            "X-Content-Type-Options": "nosniff",
            # Opened by itself it is a picture and nothing else, whatever a browser makes of it.
            "Content-Security-Policy": "default-src 'none'; sandbox",
        }
        return web.Response(body=body, headers=headers)

    async def drain(self) -> None:
        """The server stops: encode nothing more."""
        self._encoder.shutdown(wait=False, cancel_futures=True)

    def _on(self) -> Emotes:
        if self._emotes is None:
            raise EmotesAreOff("whoever runs this has named no place for images", retry_after_seconds=3_600)
        return self._emotes

    async def _read(self, request: web.Request) -> EmoteImage:
        """The image in the body. Raises PayloadTooLarge, EmoteImageRefused, Unavailable."""
        if self._waiting >= UPLOADS_WAITING_MAX:
            raise Unavailable("many images are being uploaded: try again in a few seconds", retry_after_seconds=5)
        self._waiting += 1
        try:
            async with asyncio.timeout(UPLOAD_SECONDS_MAX):
                body = await _body(request)
                return await asyncio.get_running_loop().run_in_executor(self._encoder, read_image, body)
        except ImageRefused as refused:
            raise EmoteImageRefused(str(refused), errors=[{"field": "body", "message": str(refused)}]) from refused
        except TimeoutError as error:
            raise Unavailable("the image took too long", retry_after_seconds=5) from error
        finally:
            self._waiting -= 1


async def _body(request: web.Request) -> bytes:
    content = b""
    async for piece in request.content.iter_chunked(1 << 16):
        content += piece
        if len(content) > UPLOAD_BYTES_MAX:
            raise PayloadTooLarge(f"an emote's image has {UPLOAD_BYTES_MAX} bytes at most")
    return content


def _view(emote: Emote) -> EmoteView:
    return EmoteView(
        emote_id=emote.emote_id,
        name=emote.name,
        url=emote_url(emote.emote_id),
        content_type=emote.content_type,
        size_bytes=emote.size_bytes,
        width_px=emote.width_px,
        height_px=emote.height_px,
        animated=emote.animated,
        added_by=emote.added_by,
        added_at=emote.added_at,
    )
