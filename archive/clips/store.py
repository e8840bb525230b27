"""Clips in Postgres: asking for one, and what it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID

from archive.clips.plan import SLIVER_MS, ClipRange, TimedSegment
from archive.jobs.jobs import URGENT, NewJob, add_jobs
from archive.ladder.ladder import SourceSegment
from archive.store import QUERIES, SEGMENTS_MAX, Visibility
from runtime.ids import uuid7
from runtime.postgres import Connection
from runtime.queries import Executor
from runtime.trace import current_trace

CLIP = "clip"
"""The kind of the jobs that make clips."""

REQUESTS_KEPT_SECONDS = 86_400.0
REQUESTS_FORGOTTEN_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class ClipRequest:
    """What somebody asks for. None for title and visibility: as in the original."""

    original_id: UUID
    channel_id: UUID
    range: ClipRange
    exact: bool
    takes_place: bool
    title: str | None
    visibility: Visibility | None

    def sha256(self) -> bytes:
        """The same for the same request."""
        return sha256(repr(self).encode()).digest()


@dataclass(frozen=True, slots=True)
class ClipOrder:
    """What a clip is to be made of."""

    original_id: UUID
    range: ClipRange
    exact: bool
    clip_is_deleted: bool
    original_is_deleted: bool


class KeyUsedOtherwise(Exception):
    """Something else was asked for under the same key."""


class TooManyPending(Exception):
    """The channel has as many clips in the making as it may have."""


class OriginalGone(Exception):
    """What is to be cut does not play, or is deleted."""


async def ask_for_clip(connection: Connection, request: ClipRequest, *, key: str | None, pending_max: int) -> UUID:
    """Promise the clip and have it made, in the caller's transaction; its id, the same one for the same ``key``.

    Raises KeyUsedOtherwise, TooManyPending, OriginalGone.
    """
    channel_id = request.channel_id
    await QUERIES.lock_clips_of_channel(connection, channel_id=channel_id)
    if key is not None:
        known = await QUERIES.find_clip_request(connection, channel_id=channel_id, request_key=key)
        if known is not None:
            if known["request_sha256"] != request.sha256():
                raise KeyUsedOtherwise
            made_before: UUID = known["clip_id"]
            return made_before
    if await QUERIES.count_clips_in_the_making(connection, channel_id=channel_id) >= pending_max:
        raise TooManyPending
    clip_id = await _add(connection, request)
    if key is not None:
        await QUERIES.forget_clip_requests(
            connection, keep_seconds=REQUESTS_KEPT_SECONDS, rows_max=REQUESTS_FORGOTTEN_AT_ONCE
        )
        await QUERIES.note_clip_request(
            connection, channel_id=channel_id, request_key=key, request_sha256=request.sha256(), clip_id=clip_id
        )
    return clip_id


async def _add(connection: Connection, request: ClipRequest) -> UUID:
    clip_id, trace = uuid7(), current_trace()
    added = await QUERIES.add_clip(
        connection,
        stream_id=clip_id,
        original_id=request.original_id,
        title=request.title,
        visibility=request.visibility,
        from_ms=request.range.from_ms,
        to_ms=request.range.to_ms,
        exact=request.exact,
        takes_place=request.takes_place,
        traceparent=None if trace is None else trace.traceparent,
    )
    if added is None:
        raise OriginalGone
    length_ms = request.range.to_ms - request.range.from_ms
    await add_jobs(connection, [NewJob(clip_id, CLIP, work_ms=length_ms, urgency=URGENT)])
    return clip_id


async def find_order(executor: Executor, clip_id: UUID) -> ClipOrder | None:
    """What the clip is to be made of; None when it is not waiting to be made."""
    row = await QUERIES.find_clip_order(executor, stream_id=clip_id)
    if row is None:
        return None
    return ClipOrder(
        original_id=row["clip_of"],
        range=ClipRange(row["clip_from_ms"], row["clip_to_ms"]),
        exact=row["clip_exact"],
        clip_is_deleted=row["deleted_at"] is not None,
        original_is_deleted=row["original_deleted_at"] is not None,
    )


async def timed_segments(executor: Executor, stream_id: UUID, wanted: ClipRange) -> list[TimedSegment]:
    """The segments of a recording that play in the range, and the next where `plan_clip` may need it."""
    rows = await QUERIES.list_timed_segments(
        executor, stream_id=stream_id, from_ms=wanted.from_ms, to_ms=wanted.to_ms + SLIVER_MS, rows_max=SEGMENTS_MAX
    )
    return [
        TimedSegment(
            SourceSegment(row["sequence"], row["duration_ms"], row["size_bytes"], row["discontinuity"]),
            int(row["starts_ms"]),
        )
        for row in rows
    ]


async def list_clips(
    executor: Executor, original_id: UUID, *, before: UUID, rows_max: int, everything: bool
) -> Sequence[UUID]:
    """Ids of a recording's clips below ``before``, newest first: the public ones, or ``everything`` for the owner."""
    query = QUERIES.list_clips if everything else QUERIES.list_public_clips
    rows = await query(executor, clip_of=original_id, before=before, rows_max=rows_max)
    return [row["stream_id"] for row in rows]
