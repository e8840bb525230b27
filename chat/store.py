"""What chat keeps in Postgres about rooms and the people it has heard of."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from asyncpg import Record

from chat.emotes.urls import emote_url
from chat.rooms.entries import Said
from chat.rooms.facts import BlockedTerm, PollOption, PollView, RoomFacts
from chat.speaking.rules import read_rules
from runtime.postgres import Connection, Pool, load_queries

QUERIES = load_queries("chat")


async def find_facts(pool: Pool, channel_id: UUID) -> RoomFacts | None:
    """All that is known of a room whose channel is known by name."""
    row = await QUERIES.find_room(pool, channel_id=channel_id)
    if row is None:
        return None
    return RoomFacts(
        channel_id=row["channel_id"],
        channel_name=row["channel_name"],
        live_stream_id=row["live_stream_id"],
        version=row["version"],
        rules=read_rules(row["rules"]),
        pinned=None if row["pinned"] is None else Said.model_validate_json(row["pinned"]),
        poll=None if row["poll_id"] is None else poll_view(row),
        emotes={name: emote_url(emote_id) for name, emote_id in json.loads(row["emotes"] or "{}").items()},
        blocked_terms=tuple(BlockedTerm(term, hold) for term, hold in json.loads(row["blocked_terms"] or "{}").items()),
    )


def poll_view(row: Record) -> PollView:
    """A poll from a row that has it with its ``votes``."""
    return PollView(
        poll_id=row["poll_id"],
        question=row["question"],
        options=tuple(
            PollOption(text=text, votes=votes) for text, votes in zip(row["options"], row["votes"], strict=True)
        ),
        started_at=row["started_at"],
        ends_at=row["ends_at"],
        ended=row["ended"],
    )


async def find_versions(pool: Pool, channel_ids: Sequence[UUID]) -> Mapping[UUID, int]:
    """The version of each of these rooms; those that nobody knows are left out."""
    rows = await QUERIES.find_versions(pool, channel_ids=list(channel_ids))
    return {row["channel_id"]: row["version"] for row in rows}


async def open_room(connection: Connection, channel_id: UUID, channel_name: str) -> None:
    """Make sure that a channel's room exists under this name."""
    await QUERIES.open_room(connection, channel_id=channel_id, channel_name=channel_name)


async def start_stream(
    connection: Connection, channel_id: UUID, channel_name: str, stream_id: UUID, started_at: datetime
) -> bool:
    """Note a stream's start; whether that changed the room."""
    row = await QUERIES.start_stream(
        connection, channel_id=channel_id, channel_name=channel_name, stream_id=stream_id, started_at=started_at
    )
    return row is not None


async def end_stream(
    connection: Connection, channel_id: UUID, stream_id: UUID, started_at: datetime, ended_at: datetime
) -> bool:
    """Note a stream's end; whether that changed the room."""
    row = await QUERIES.end_stream(
        connection, channel_id=channel_id, stream_id=stream_id, started_at=started_at, ended_at=ended_at
    )
    return row is not None


async def show_stream(connection: Connection, channel_id: UUID, stream_id: UUID, shown_at: datetime) -> bool:
    """Note that everybody may know of a stream from now on; whether that changed the room."""
    row = await QUERIES.show_stream(connection, channel_id=channel_id, stream_id=stream_id, shown_at=shown_at)
    return row is not None


async def hide_stream(connection: Connection, channel_id: UUID, stream_id: UUID, hidden_at: datetime) -> bool:
    """Note that not everybody may know of a stream any more; whether that changed the room."""
    row = await QUERIES.hide_stream(connection, channel_id=channel_id, stream_id=stream_id, hidden_at=hidden_at)
    return row is not None


async def touch_room(connection: Connection, channel_id: UUID) -> None:
    """Count the room's version up: something about it changed in this transaction."""
    await QUERIES.touch_room(connection, channel_id=channel_id)


async def note_person(
    connection: Connection, user_id: UUID, username: str, registered_at: datetime | None = None
) -> None:
    """Keep somebody's name, and since when they have their account if that is known now."""
    await QUERIES.note_person(connection, user_id=user_id, username=username, registered_at=registered_at)
