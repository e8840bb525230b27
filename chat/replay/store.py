"""Which moments recordings and running streams show, and who may see them, as their services told."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from chat.replay.timeline import Anchor, Timeline, ordered
from runtime.postgres import Connection, load_queries
from runtime.queries import Executor

QUERIES = load_queries("chat")

Visibility = Literal["public", "unlisted", "private"]


@dataclass(frozen=True, slots=True)
class Replay:
    """A recording, a clip or a running stream. ``starts_seconds``: where in the timeline a clip begins."""

    stream_id: UUID
    channel_id: UUID
    visibility: Visibility
    deleted: bool
    timeline: Timeline | None
    starts_seconds: float = 0.0
    duration_seconds: float | None = None

    def is_seen_by(self, user_id: UUID | None) -> bool:
        """Whether it exists for somebody: deleted for nobody, private for its owner alone."""
        return not self.deleted and (self.visibility != "private" or user_id == self.channel_id)


async def start(connection: Connection, stream_id: UUID, channel_id: UUID, started_at: datetime) -> None:
    """A stream runs."""
    await QUERIES.start_replay(connection, stream_id=stream_id, channel_id=channel_id, started_at=started_at)


async def end(
    connection: Connection, stream_id: UUID, channel_id: UUID, started_at: datetime, ended_at: datetime
) -> None:
    """A stream is over."""
    await QUERIES.end_replay(
        connection, stream_id=stream_id, channel_id=channel_id, started_at=started_at, ended_at=ended_at
    )


async def publish(
    connection: Connection,
    stream_id: UUID,
    channel_id: UUID,
    *,
    anchors: Sequence[Anchor],
    duration_seconds: float,
    visibility: Visibility,
    clip_of: UUID | None,
    clip_from_seconds: float | None,
) -> None:
    """A recording plays."""
    await QUERIES.publish_replay(
        connection,
        stream_id=stream_id,
        channel_id=channel_id,
        duration_seconds=duration_seconds,
        timeline=json.dumps([[anchor.at_seconds, anchor.at.isoformat()] for anchor in anchors]),
        visibility=visibility,
        clip_of=clip_of,
        clip_from_seconds=clip_from_seconds,
    )


async def show(connection: Connection, stream_id: UUID, channel_id: UUID, visibility: Visibility) -> None:
    """Its owner decided who sees it."""
    await QUERIES.show_replay(connection, stream_id=stream_id, channel_id=channel_id, visibility=visibility)


async def note_deleted(connection: Connection, stream_id: UUID, channel_id: UUID, *, deleted: bool) -> None:
    """It was deleted, or restored."""
    await QUERIES.note_replay_deleted(connection, stream_id=stream_id, channel_id=channel_id, deleted=deleted)


async def find(executor: Executor, stream_id: UUID) -> Replay | None:
    """One recording or stream, whoever may see it; a clip with the timeline of what it was cut from."""
    row = await QUERIES.find_replay(executor, stream_id=stream_id)
    if row is None:
        return None
    anchors = _anchors(row["timeline"], row["started_at"])
    whole_seconds = None if row["whole_seconds"] is None else float(row["whole_seconds"])
    return Replay(
        stream_id=stream_id,
        channel_id=row["channel_id"],
        visibility=row["visibility"],
        deleted=row["deleted"],
        timeline=Timeline(anchors, whole_seconds) if anchors else None,
        starts_seconds=row["starts_seconds"] or 0.0,
        duration_seconds=row["duration_seconds"],
    )


def _anchors(timeline: str | None, started_at: datetime | None) -> list[Anchor]:
    """As they were told; without any, a recording is taken to begin with its stream and to have no interruption."""
    told: list[list[Any]] = json.loads(timeline or "[]")
    if not told:
        return [] if started_at is None else [Anchor(0.0, started_at)]
    return ordered([Anchor(seconds, datetime.fromisoformat(at)) for seconds, at in told])
