"""Watches the groups that read an outbox: one that falls behind is alarmed, never skipped."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import asyncpg
import structlog

from eventbus import metrics
from eventbus.log_postgres import partition_of
from eventbus.outbox import QUERIES
from events import Topic

if TYPE_CHECKING:
    Session = asyncpg.Connection[asyncpg.Record]

log = structlog.get_logger(__name__)

INTERVAL_SECONDS = 30.0
BEHIND_AFTER_SECONDS = 300.0
CURSORS_MAX = 10_000
SCANNED_RECORDS_MAX = 2_000
"""So many records behind the slowest cursor are looked at for one that is unread; beyond them the age is a bound."""


class GroupBacklog:
    """Measures how old the oldest unread event of every group is, in one schema's outbox."""

    def __init__(
        self, schema: str, topics: Sequence[Topic], *, behind_after_seconds: float = BEHIND_AFTER_SECONDS
    ) -> None:
        self._schema = schema
        self._partitions = {topic.name: topic.partitions for topic in topics}
        self._behind_after_seconds = behind_after_seconds
        self._due_at = 0.0
        self._known: set[tuple[str, str]] = set()

    async def measure(self, connection: "Session") -> None:
        """Measure if it is time; logs `group_behind` for every group that is too far behind."""
        if not self._partitions or time.monotonic() < self._due_at:
            return
        self._due_at = time.monotonic() + INTERVAL_SECONDS
        rows = await QUERIES.read_group_cursors(connection, topics=list(self._partitions), cursors_max=CURSORS_MAX)
        cursors: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
        for row in rows:
            cursors[row["group_name"], row["topic"]][row["partition"]] = row["next_offset"]
        for gone in self._known - cursors.keys():
            metrics.group_oldest_unread_seconds.remove(*gone)
        self._known = set(cursors)
        place = await QUERIES.read_place(connection)
        for (group, topic), offsets in cursors.items():
            await self._measure_one(connection, group, topic, offsets, place)

    async def _measure_one(
        self, connection: "Session", group: str, topic: str, offsets: Mapping[int, int], place: int
    ) -> None:
        since = await self._oldest_unread(connection, topic, offsets, place)
        seconds = 0.0 if since is None else (datetime.now(UTC) - since).total_seconds()
        metrics.group_oldest_unread_seconds.labels(group, topic).set(seconds)
        if seconds > self._behind_after_seconds:
            log.error("group_behind", schema=self._schema, group=group, topic=topic, oldest_seconds=round(seconds))

    async def _oldest_unread(
        self, connection: "Session", topic: str, offsets: Mapping[int, int], place: int
    ) -> datetime | None:
        rows = await QUERIES.read_log_keys(
            connection,
            after_id=min(offsets.values()) - 1,
            last_id=place,
            topics=[topic],
            records_max=SCANNED_RECORDS_MAX,
        )
        count = self._partitions[topic]
        for record_id, _, key, created_at in rows:
            # A partition that nobody has taken yet has no cursor, and everything of it is unread.
            if record_id >= offsets.get(partition_of(record_id, key, count), 0):
                oldest: datetime = created_at
                return oldest
        return rows[-1]["created_at"] if len(rows) == SCANNED_RECORDS_MAX else None
