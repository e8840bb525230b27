"""Prepares streams, and changes and drops those that have not begun.

A prepared stream has an id of its own, under which it was announced. It begins with the channel's next publish that
finds it due (`begin_stream`), as a stream whose id is of that moment; the announced id leads there from then on
(docs/decisions/0095).
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg
import structlog

from runtime.ids import uuid7
from runtime.postgres import Pool
from runtime.problems import NotAuthenticated
from runtime.tokens import Caller
from streaming import store
from streaming.errors import DELETED, TooManyPrepared
from streaming.streams.bodies import Preparation, StreamChange

log = structlog.get_logger(__name__)

PREPARED_STREAMS_MAX: Final = 20
"""Of one channel, that have not begun."""
KEPT_AFTER_TIME: Final = timedelta(days=7)
"""One that was scheduled and did not begin is gone after this."""
KEPT_WITHOUT_TIME: Final = timedelta(days=90)


class Preparing:
    """Prepared streams in Postgres."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def prepare(self, caller: Caller, body: Preparation) -> UUID:
        """Prepare a stream of the caller's channel; its announced id. Raises TooManyPrepared, NotAuthenticated."""
        prepared_id = uuid7()
        async with self._pool.acquire() as connection, connection.transaction():
            await store.queries.save_channel(connection, channel_id=caller.user_id, name=caller.name)
            channel = await store.queries.lock_channel(connection, channel_id=caller.user_id)
            if channel is None:
                raise NotAuthenticated(DELETED)
            await store.queries.drop_expired_prepared_streams(connection, channel_id=caller.user_id)
            added = await store.queries.add_prepared_stream(
                connection,
                prepared_id=prepared_id,
                channel_id=caller.user_id,
                streams_max=PREPARED_STREAMS_MAX,
                kept=_kept(body.scheduled_at),
                **body.over(channel),
            )
        if added is None:
            raise TooManyPrepared(f"a channel has at most {PREPARED_STREAMS_MAX} prepared streams; drop one first")
        log.info("stream_prepared", prepared_id=str(prepared_id), channel_id=str(caller.user_id))
        return prepared_id

    async def change(self, prepared_id: UUID, change: StreamChange) -> bool:
        """Change a prepared stream; False: it has begun or is gone."""
        async with self._pool.acquire() as connection, connection.transaction():
            row = await store.queries.lock_prepared_stream(connection, prepared_id=prepared_id)
            if row is None:
                return False
            wanted: Mapping[str, Any] = change.over(row)
            await store.queries.change_prepared_stream(
                connection, prepared_id=prepared_id, kept=_kept(wanted["scheduled_at"]), **wanted
            )
        return True

    async def drop(self, prepared_id: UUID) -> bool:
        """Drop a prepared stream; False: it has begun or is gone."""
        dropped = await store.queries.drop_prepared_stream(self._pool, prepared_id=prepared_id) is not None
        if dropped:
            log.info("prepared_stream_dropped", prepared_id=str(prepared_id))
        return dropped

    async def find(self, prepared_id: UUID) -> asyncpg.Record | None:
        """What was announced under this id; `begun_as` says what it has become."""
        found: asyncpg.Record | None = await store.queries.find_prepared_stream(self._pool, prepared_id=prepared_id)
        return found


def _kept(scheduled_at: datetime | None) -> timedelta:
    return KEPT_WITHOUT_TIME if scheduled_at is None else KEPT_AFTER_TIME
