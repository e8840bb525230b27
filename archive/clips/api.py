"""What people ask of clips: to have one made of a recording of one's own, and which there are."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from archive.clips.plan import ClipPlan, RangeRefused, checked_range, plan_clip
from archive.clips.settings import ClipsSettings
from archive.clips.store import (
    ClipRequest,
    KeyUsedOtherwise,
    OriginalGone,
    TooManyPending,
    ask_for_clip,
    list_clips,
    timed_segments,
)
from archive.library.api import LAST_ID, ArchivePage, ArchivePath
from archive.library.owners_api import Title
from archive.library.views import ArchiveView, archive_view
from archive.library.visibility import OWNERS_ALONE, is_owner, owned_by, seen_by
from archive.problems import RecordingDoesNotPlay, RecordingNotFound, TooManyClips
from archive.store import Recording, Recordings, Visibility
from eventbus.outbox import Outbox
from runtime.endpoints import endpoint
from runtime.idempotency import HEADER, IdempotencyKeyReused, read_key
from runtime.pages import PageQuery, decode_cursor, encode_cursor
from runtime.postgres import Pool
from runtime.problems import ValidationFailed
from runtime.tokens import Caller

# A recording of a hundred days is none.
SECONDS_MAX = 8_640_000
RETRY_AFTER_SECONDS = 10

Seconds = Annotated[float, Field(strict=True, ge=0, le=SECONDS_MAX, allow_inf_nan=False)]


class ClipOrderBody(BaseModel):
    """Which part of a recording, and what becomes of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    from_seconds: Seconds = Field(description="Where the clip begins, as players show the recording's time.")
    to_seconds: Seconds = Field(description="Where it ends.")
    title: Title | None = Field(default=None, description="Null: that of the recording.")
    visibility: Visibility | None = Field(default=None, description="Null: that of the recording.")
    exact: bool = Field(
        default=False,
        strict=True,
        description="Begin and end at the very pictures: the segments at the edges are encoded anew. Else the clip has "
        "whole segments, and begins and ends up to a segment further out.",
    )
    replace: bool = Field(
        default=False,
        strict=True,
        description="Trim: once the clip plays it takes the recording's place, which is deleted and can be restored "
        "for a while.",
    )


class ClipsApi:
    """Clips of recordings."""

    tag = "archives"

    def __init__(
        self, pool: Pool, recordings: Recordings, outbox: Outbox, settings: ClipsSettings, *, playback_path: str
    ) -> None:
        self._pool = pool
        self._recordings = recordings
        self._outbox = outbox
        self._settings = settings
        self._playback_path = playback_path

    @endpoint(
        "POST",
        "/api/archives/{stream_id}/clips",
        status=202,
        problems=(*OWNERS_ALONE, RecordingDoesNotPlay, TooManyClips),
        idempotent="own",
    )
    async def make_clip(
        self, caller: Caller, path: ArchivePath, body: ClipOrderBody, request: web.Request
    ) -> ArchiveView:
        """Have a clip made of a recording of one's own.

        The answer is the clip, a recording with an id of its own, where it begins and where it ends; ask for it by that
        id until it plays. A repetition with the same `Idempotency-Key` is told of the first one's clip as it is now.
        """
        key = read_key(request.headers.getall(HEADER)) if HEADER in request.headers else None
        original = await owned_by(self._recordings, path.stream_id, caller)
        plan = await self._plan(original, body)
        wanted = ClipRequest(
            original_id=original.stream_id,
            channel_id=original.channel_id,
            range=plan.range,
            exact=body.exact,
            takes_place=body.replace,
            title=body.title,
            visibility=body.visibility,
        )
        clip = await self._recordings.find(await self._ask(wanted, key))
        if clip is None or clip.purged_at is not None:
            raise RecordingNotFound("the clip of this request is gone")
        return archive_view(clip, caller, playback_path=self._playback_path)

    @endpoint("GET", "/api/archives/{stream_id}/clips", problems=(RecordingNotFound,))
    async def list_clips(self, caller: Caller | None, path: ArchivePath, query: PageQuery) -> ArchivePage:
        """List the clips of a recording, newest first: the public ones; to its owner all."""
        original = await seen_by(self._recordings, path.stream_id, caller)
        found = await list_clips(
            self._pool,
            original.stream_id,
            before=LAST_ID if query.cursor is None else decode_cursor(query.cursor, UUID)[0],
            rows_max=query.limit + 1,
            everything=is_owner(original, caller),
        )
        shown = await self._recordings.find_all(found[: query.limit])
        return ArchivePage(
            items=[archive_view(clip, caller, playback_path=self._playback_path) for clip in shown],
            next_cursor=encode_cursor(found[query.limit - 1]) if len(found) > query.limit else None,
        )

    async def _plan(self, original: Recording, body: ClipOrderBody) -> ClipPlan:
        if original.published_at is None or original.duration_ms is None:
            raise RecordingDoesNotPlay("a clip can be made once the recording plays")
        settings = self._settings
        length_max = settings.archive_trim_seconds_max if body.replace else settings.archive_clip_seconds_max
        try:
            wanted = checked_range(
                body.from_seconds,
                body.to_seconds,
                duration_ms=original.duration_ms,
                length_seconds_max=length_max,
            )
        except RangeRefused as refused:
            wrong: list[JsonValue] = [{"field": f"body.{refused.field}", "message": refused.reason}]
            raise ValidationFailed("1 wrong in the body", errors=wrong) from refused
        segments = await timed_segments(self._pool, original.stream_id, wanted)
        plan = plan_clip(segments, wanted, exact=body.exact)
        if plan is None:
            raise RecordingDoesNotPlay("nothing of that range is there")
        return plan

    async def _ask(self, wanted: ClipRequest, key: str | None) -> UUID:
        pending_max = self._settings.archive_clips_pending_max
        try:
            async with self._outbox.transaction() as transaction:
                return await ask_for_clip(transaction.connection, wanted, key=key, pending_max=pending_max)
        except KeyUsedOtherwise as error:
            raise IdempotencyKeyReused("use another key for another request") from error
        except TooManyPending as error:
            raise TooManyClips(
                f"{pending_max} clips of this channel are being made", retry_after_seconds=RETRY_AFTER_SECONDS
            ) from error
        except OriginalGone as error:
            raise RecordingDoesNotPlay("it has been deleted meanwhile") from error
