"""The record of what moderators did: one row each, in the transaction that did it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import JsonValue

from runtime.ids import uuid7
from runtime.postgres import Connection, Pool, load_queries
from runtime.tokens import Caller

QUERIES = load_queries("chat")

Action = Literal[
    "delete-message",
    "ban",
    "timeout",
    "unban",
    "clear",
    "add-moderator",
    "remove-moderator",
    "change-rules",
    "block-term",
    "unblock-term",
    "approve-held",
    "deny-held",
    "pin",
    "unpin",
    "start-poll",
    "end-poll",
    "announce",
    "add-emote",
    "remove-emote",
]


@dataclass(frozen=True, slots=True)
class Target:
    """Whom or what an action was about. A name that is not given is looked up."""

    user_id: UUID | None = None
    username: str | None = None
    message_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class AuditRow:
    """What somebody did."""

    audit_id: UUID
    actor_id: UUID
    actor_name: str
    action: str
    target_id: UUID | None
    target_name: str | None
    message_id: UUID | None
    reason: str | None
    particulars: Mapping[str, JsonValue]
    acted_at: datetime


async def append(
    connection: Connection,
    channel_id: UUID,
    caller: Caller,
    action: Action,
    target: Target | None = None,
    *,
    reason: str | None = None,
    particulars: Mapping[str, JsonValue] | None = None,
) -> None:
    """Write down that the caller does this, if the transaction commits."""
    about = target or Target()
    name = about.username
    if name is None and about.user_id is not None:
        name = await QUERIES.find_name(connection, user_id=about.user_id)
    await QUERIES.append_audit(
        connection,
        channel_id=channel_id,
        audit_id=uuid7(),
        actor_id=caller.user_id,
        actor_name=caller.name,
        action=action,
        target_id=about.user_id,
        target_name=name,
        message_id=about.message_id,
        reason=reason,
        particulars=json.dumps(dict(particulars or {})),
    )


async def list_audit(pool: Pool, channel_id: UUID, *, before: UUID, items_max: int) -> Sequence[AuditRow]:
    """What was done in a room, the newest first, older than an id."""
    rows = await QUERIES.list_audit(pool, channel_id=channel_id, before=before, items_max=items_max)
    return [AuditRow(**{**row, "particulars": json.loads(row["particulars"])}) for row in rows]


async def make_partitions(connection: Connection, months_ahead: int) -> int:
    """Make the audit log's partitions of this month and the coming ones; how many were missing."""
    made: int = await QUERIES.make_audit_months(connection, months_ahead=months_ahead)
    return made
