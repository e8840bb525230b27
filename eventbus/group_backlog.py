"""How far behind the groups on Postgres are: for the alarm of the one that falls behind, and for operators.

A group that falls behind is alarmed, never skipped: nothing is dropped before every group has read it.
"""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import structlog

from eventbus import metrics
from eventbus.log_postgres import log_schema, of_schema, partition_of
from eventbus.outbox import QUERIES
from events import Topic
from runtime.postgres import Connection

log = structlog.get_logger(__name__)

INTERVAL_SECONDS = 30.0
BEHIND_AFTER_SECONDS = 300.0
CURSORS_MAX = 10_000
SCANNED_RECORDS_MAX = 2_000
"""So many records behind the slowest cursor are looked at for one that is unread; beyond them the age is a bound."""


class Backlog(NamedTuple):
    """How far a group is in a topic."""

    group: str
    topic: str
    partitions: int
    worked_on: int
    """How many of the partitions a living member has."""
    next_offset: int
    """The smallest that a partition is to be read from."""
    oldest_unread_at: datetime | None

    def behind_seconds(self, now: datetime) -> float:
        """The age of the oldest unread event; 0 when there is none."""
        return 0.0 if self.oldest_unread_at is None else max(0.0, (now - self.oldest_unread_at).total_seconds())


async def read_backlogs(connection: Connection, topics: Sequence[Topic]) -> list[Backlog]:
    """The groups that read any of ``topics``, by group and topic."""
    by_name = {topic.name: topic for topic in topics}
    rows = await QUERIES.read_group_cursors(connection, topics=list(by_name), cursors_max=CURSORS_MAX)
    offsets: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
    worked_on: dict[tuple[str, str], int] = defaultdict(int)
    for row in rows:
        key = row["group_name"], row["topic"]
        offsets[key][row["partition"]] = row["next_offset"]
        worked_on[key] += row["is_worked_on"]
    return [
        Backlog(
            group,
            topic,
            len(of_group),
            worked_on[group, topic],
            min(of_group.values()),
            await _oldest_unread(connection, by_name[topic], of_group),
        )
        for (group, topic), of_group in offsets.items()
    ]


async def _oldest_unread(connection: Connection, topic: Topic, offsets: Mapping[int, int]) -> datetime | None:
    schema = log_schema(topic)
    rows = await of_schema(QUERIES.read_log_keys, schema)(
        connection,
        after_id=min(offsets.values()) - 1,
        last_id=await of_schema(QUERIES.read_place, schema)(connection),
        topics=[topic.name],
        records_max=SCANNED_RECORDS_MAX,
    )
    for record_id, _, key, created_at in rows:
        # A partition that nobody has taken yet has no cursor, and everything of it is unread.
        if record_id >= offsets.get(partition_of(record_id, key, topic.partitions), 0):
            oldest: datetime = created_at
            return oldest
    return rows[-1]["created_at"] if len(rows) == SCANNED_RECORDS_MAX else None


class BacklogWatch:
    """Measures the groups that read one schema's outbox, and says which are behind; the leading relay does it."""

    def __init__(
        self, schema: str, topics: Sequence[Topic], *, behind_after_seconds: float = BEHIND_AFTER_SECONDS
    ) -> None:
        self._schema = schema
        self._topics = tuple(topics)
        self._behind_after_seconds = behind_after_seconds
        self._due_at = 0.0
        self._known: set[tuple[str, str]] = set()

    async def when_due(self, connection: Connection) -> None:
        """Measure if it is time; logs `group_behind` for every group that is too far behind."""
        if not self._topics or time.monotonic() < self._due_at:
            return
        self._due_at = time.monotonic() + INTERVAL_SECONDS
        backlogs = await read_backlogs(connection, self._topics)
        now = datetime.now(UTC)
        for gone in self._known - {(one.group, one.topic) for one in backlogs}:
            metrics.group_oldest_unread_seconds.remove(*gone)
        self._known = {(one.group, one.topic) for one in backlogs}
        for one in backlogs:
            seconds = one.behind_seconds(now)
            metrics.group_oldest_unread_seconds.labels(one.group, one.topic).set(seconds)
            if seconds > self._behind_after_seconds:
                log.error(
                    "group_behind",
                    schema=self._schema,
                    group=one.group,
                    topic=one.topic,
                    oldest_seconds=round(seconds),
                    worked_on=one.worked_on,
                    partitions=one.partitions,
                )
