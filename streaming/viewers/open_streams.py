"""Knows which streams can be watched and by whom, without asking the database for every heartbeat."""

import asyncio
from collections.abc import Mapping
from typing import Final
from uuid import UUID

import structlog

from runtime.postgres import Pool
from runtime.problems import Unavailable
from runtime.unavailable import PERHAPS_AWAY, is_unavailable
from streaming import store

log = structlog.get_logger(__name__)

FRESH_SECONDS: Final = 2.0
"""An id that is not known is looked up at most so often, all of them at once; one that is known is believed so long."""


class OpenStreams:
    """The ids of open streams, seconds old; without a database those that were known last."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._private: Mapping[UUID, bool] | None = None  # never read
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    async def is_private(self, stream_id: UUID) -> bool | None:
        """Whether a stream that is on is private; None: none with this id is on, as far as is known here.

        Raises Unavailable while nobody has been able to look.
        """
        # While one looks, the others go by what is known; only the first time there is nothing to go by.
        if self._is_old() and (self._private is None or not self._reading.locked()):
            async with self._reading:
                if self._is_old():
                    await self._read()
        if self._private is None:
            raise Unavailable("nobody knows yet which streams are on", retry_after_seconds=5)
        return self._private.get(stream_id)

    def _is_old(self) -> bool:
        return asyncio.get_running_loop().time() - self._read_at > FRESH_SECONDS

    async def _read(self) -> None:
        try:
            rows = await store.queries.list_open_stream_ids(self._pool)
        except PERHAPS_AWAY as error:
            if not is_unavailable(error):
                raise
            log.warning("open_streams_not_read", reason=str(error) or type(error).__name__)
        else:
            self._private = {row["stream_id"]: row["private"] for row in rows}
        finally:
            self._read_at = asyncio.get_running_loop().time()
