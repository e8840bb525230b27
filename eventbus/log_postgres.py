"""A topic's log on Postgres: the outbox of the schema that says it, read by id.

Offsets are ids of the outbox: ascending, with holes (other topics, other partitions, rolled back transactions). A
record's partition follows from its key, and is worked out by whoever reads.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from zlib import crc32

import asyncpg

from eventbus.bus import Message
from eventbus.outbox import QUERIES, headers_from_json
from events import Topic
from runtime.migrations import SCHEMAS
from runtime.postgres import Query

BUS_SCHEMA = "bus"


def log_schema(topic: Topic) -> str:
    """The schema whose outbox is the topic's log: its producer's; the bus's own for what no service alone says."""
    return topic.producer if topic.producer in SCHEMAS else BUS_SCHEMA


@cache
def of_schema(query: Query, schema: str) -> Query:
    """A query on the outbox of ``schema``, whatever the search path; it is named on the search path in the file."""
    if schema not in SCHEMAS:
        raise ValueError(f"no schema {schema!r}")
    sql = re.sub(r"\b(FROM|INTO) (outbox\w*)", rf"\1 {schema}.\2", query.sql)
    return Query(query.name, sql, query.operation, query.parameters, query.doc)


@cache
def watermarks_sql(schemas: tuple[str, ...]) -> str:
    """How far each outbox may be read: everything up to that id is there or never will be."""
    return " UNION ALL ".join(
        of_schema(QUERIES.read_place, schema)
        .sql.rstrip("; \n")
        .replace("SELECT id", f"SELECT '{schema}' AS schema, id")
        for schema in schemas
    )


def partition_of(record_id: int, key: bytes | None, partitions: int) -> int:
    """Records of one key share a partition; those without are spread."""
    return (record_id if key is None else crc32(key)) % partitions


def messages_of(rows: Sequence[asyncpg.Record], partitions: Mapping[str, int]) -> list[Message]:
    """What rows of ``read_log`` say; ``partitions`` maps topics to how many they have."""
    return [
        Message(
            topic,
            key,
            data,
            headers_from_json(headers),
            partition_of(record_id, key, partitions[topic]),
            record_id,
            int(created_at.timestamp() * 1000),
        )
        for record_id, topic, key, headers, data, created_at, _ in rows
    ]
