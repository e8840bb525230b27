"""Chat's part of ``livestream retention``: what was said in rooms, by age."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from chat.log.retention import Aged, LogRetention
from chat.log.settings import LogSettings
from console.retention.port import Found, Line, summed
from runtime.migrations import require_migrated
from runtime.postgres import Pool, open_pool
from runtime.settings import PostgresSettings

SCHEMA = "chat"


class MessageRetentionSettings(PostgresSettings, LogSettings):
    """What it takes to plan and to do."""


@dataclass(frozen=True)
class MessageRetention:
    """What rooms have kept for longer than they want."""

    work: LogRetention
    service: str = SCHEMA

    async def plan(self, now: datetime) -> Found:
        """See the port."""
        due = [room async for room in self.work.due(now)]
        return Found(
            lines=_lines(room for room in due if not room.held), held=_lines(room for room in due if room.held)
        )

    async def apply(self, now: datetime) -> Found:
        """See the port."""
        return Found(lines=_lines(await self.work.round(now)))


@asynccontextmanager
async def open_messages(settings: MessageRetentionSettings) -> AsyncIterator[MessageRetention]:
    """Chat's part, with its database. Raises StaleSchema, OSError."""
    async with open_messages_pool(settings) as pool:
        yield MessageRetention(LogRetention(pool, log_days=settings.chat_log_days))


@asynccontextmanager
async def open_messages_pool(settings: PostgresSettings) -> AsyncIterator[Pool]:
    """Chat's database. Raises StaleSchema, OSError."""
    async with open_pool(settings, schema=SCHEMA) as pool:
        await require_migrated(pool, schema=SCHEMA)
        yield pool


def _lines(rooms: Iterable[Aged]) -> list[Line]:
    return summed([Line("purge", room.channel_id, room.messages, room.size_bytes) for room in rooms])
