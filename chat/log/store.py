"""The log in Postgres: what was said, how far it has come, and what was taken back."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from chat.rooms.entries import Said
from runtime.postgres import Connection, load_queries
from runtime.queries import Executor

QUERIES = load_queries("chat")

CLEARED_BACK = timedelta(hours=24)
"""How far back a clear reaches: what somebody could be looking at. What is older was left standing then."""
LAST_ID = UUID(int=(1 << 128) - 1)
FIRST_ID = UUID(int=0)


@dataclass(frozen=True, slots=True)
class LoggedRoom:
    """What the log must know of a room: whether it keeps messages, and when its newest stream was live."""

    permanent_log: bool = True
    stream_id: UUID | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None

    def live_at(self, moment: datetime) -> UUID | None:
        """The stream that was live then, as far as that is still known."""
        if self.started_at is None or moment < self.started_at:
            return None
        return self.stream_id if self.ended_at is None or moment <= self.ended_at else None


@dataclass(frozen=True, slots=True)
class LoggedMessage:
    """What was said, with its place in the room and the stream that was live."""

    channel_id: UUID
    epoch: str
    offset: int
    said: Said
    stream_id: UUID | None


@dataclass(frozen=True, slots=True)
class Message:
    """A message as the log has it. ``particulars``: role, reply_to, mentions, emotes, about, as far as it has them."""

    message_id: UUID
    user_id: UUID
    username: str
    text: str
    kind: str
    particulars: Mapping[str, Any]
    epoch: str
    offset: int
    sent_at: datetime
    stream_id: UUID | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which of a room's messages: ids from ``first`` to below ``before``, of one person, with some words."""

    channel_id: UUID
    before: UUID = LAST_ID
    first: UUID = FIRST_ID
    user_id: UUID | None = None
    words: str | None = None


async def lock_rooms(connection: Connection, rooms: Sequence[UUID]) -> list[UUID]:
    """Those that nobody else writes down now; they are this transaction's until it ends."""
    rows = await QUERIES.lock_logged_rooms(connection, channel_ids=list(rooms))
    return [row["channel_id"] for row in rows]


async def find_tails(
    connection: Connection, rooms: Sequence[UUID], epochs: Sequence[str]
) -> Mapping[tuple[UUID, str], int]:
    """The offset up to which a room and epoch are written down; those of which nothing is are left out."""
    rows = await QUERIES.find_log_tails(connection, channel_ids=list(rooms), epochs=list(epochs))
    return {(row["channel_id"], row["epoch"]): row["last_offset"] for row in rows}


async def find_rooms(connection: Connection, rooms: Sequence[UUID]) -> Mapping[UUID, LoggedRoom]:
    """What is known of rooms; unknown ones are left out."""
    rows = await QUERIES.find_logged_rooms(connection, channel_ids=list(rooms))
    return {
        row["channel_id"]: LoggedRoom(row["permanent_log"], row["stream_id"], row["started_at"], row["ended_at"])
        for row in rows
    }


async def insert(connection: Connection, messages: Sequence[LoggedMessage]) -> None:
    """Write messages down; what a deletion covers that came first, without its words."""
    if not messages:
        return
    await QUERIES.insert_messages(
        connection,
        channel_ids=[one.channel_id for one in messages],
        message_ids=[one.said.message_id for one in messages],
        user_ids=[one.said.user_id for one in messages],
        usernames=[one.said.username for one in messages],
        texts=[one.said.text for one in messages],
        kinds=[one.said.kind for one in messages],
        particulars=[particulars_of(one.said) for one in messages],
        epochs=[one.epoch for one in messages],
        offsets=[one.offset for one in messages],
        sent_at=[one.said.sent_at for one in messages],
        stream_ids=[one.stream_id for one in messages],
    )


async def move_tails(connection: Connection, tails: Mapping[tuple[UUID, str], int]) -> None:
    """Note how far the log has come."""
    await QUERIES.move_log_tails(
        connection,
        channel_ids=[room for room, _ in tails],
        epochs=[epoch for _, epoch in tails],
        last_offsets=list(tails.values()),
    )


async def mark_deleted(
    connection: Connection,
    channel_id: UUID,
    *,
    message_id: UUID | None = None,
    user_id: UUID | None = None,
    before: datetime,
    by: UUID,
) -> None:
    """Take back one message, or what one person said, or (neither is given) all that was said before a moment.

    Nobody sees it from this transaction's commit on: not in history, not by search, not in a replay; its words are
    erased a minute later. That holds for messages as well that are written down only afterwards. A clear reaches back
    for `CLEARED_BACK`.
    """
    await QUERIES.note_log_deletion(
        connection,
        channel_id=channel_id,
        message_id=message_id,
        user_id=user_id,
        since=before - CLEARED_BACK,
        before=before,
        deleted_by=by,
    )


async def list_messages(executor: Executor, wanted: Wanted, *, rows_max: int) -> list[Message]:
    """The newest of what is wanted, newest first; what was taken back is left out."""
    where: dict[str, object] = {
        "channel_id": wanted.channel_id,
        "before": wanted.before,
        "first": wanted.first,
        "rows_max": rows_max,
    }
    if wanted.words is not None:
        rows = await QUERIES.search_messages(executor, words=wanted.words, user_id=wanted.user_id, **where)
    elif wanted.user_id is not None:
        rows = await QUERIES.list_messages_of(executor, user_id=wanted.user_id, **where)
    else:
        rows = await QUERIES.list_messages(executor, **where)
    return await _with_answered(executor, wanted.channel_id, rows)


async def list_replayed(
    executor: Executor, channel_id: UUID, *, first: UUID, after: UUID, before: UUID, rows_max: int
) -> list[Message]:
    """What was said with ids from ``first`` and above ``after`` to below ``before``, the oldest first."""
    rows = await QUERIES.list_replayed(
        executor, channel_id=channel_id, first=first, after=after, before=before, rows_max=rows_max
    )
    return await _with_answered(executor, channel_id, rows)


async def _with_answered(executor: Executor, channel_id: UUID, rows: Sequence[asyncpg.Record]) -> list[Message]:
    """The messages, with the words of those that they answer to, as far as these may be seen today."""
    found = [Message(**{**row, "particulars": json.loads(row["particulars"])}) for row in rows]
    answered = {one.particulars["reply_to"]["message_id"] for one in found if "reply_to" in one.particulars}
    if not answered:
        return found
    texts = await QUERIES.find_texts(executor, channel_id=channel_id, message_ids=[UUID(one) for one in answered])
    text_by_id = {str(row["message_id"]): row["text"] for row in texts}
    for one in found:
        if "reply_to" in one.particulars:
            one.particulars["reply_to"]["text"] = text_by_id.get(one.particulars["reply_to"]["message_id"])
    return found


def particulars_of(said: Said) -> str:
    """What a message has besides its words, as JSON.

    The words that it answers to stay with the message that has them: else they would outlive its deletion here.
    """
    kept = said.model_dump(mode="json", include={"role", "mentions", "emotes", "about", "reply_to"}, exclude_none=True)
    if said.reply_to is not None:
        del kept["reply_to"]["text"]
    return json.dumps({name: value for name, value in kept.items() if value != []}).replace("\\u0000", "\\ufffd")
