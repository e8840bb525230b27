"""Reads that may go to replicas of Postgres, and to the primary whenever that is safer.

A replica is read from while it is not further behind than the setting says, and answers. One that is behind, frozen or
away is left out until it has done well for a while. Who has written lately, and shows so by a token
(`runtime/read_pool_token.py`), is read from a replica only if that has replayed what they wrote. No read waits for a
replica to catch up; one that a replica does not answer in time is read from the primary.

For single statements outside any transaction. Without replicas everything goes to the primary, and nobody gets a token.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import structlog

from runtime import metrics
from runtime.cancellation import raise_if_cancelled
from runtime.postgres import Pool, open_lazy_pool
from runtime.read_pool_lag import PrimaryPositions
from runtime.read_pool_replica import ANSWER_SECONDS_MAX, AWAY, WATCH_SECONDS, Method, ReadElsewhere, Replica
from runtime.read_pool_token import (
    UNKNOWN,
    Position,
    decode_position,
    encode_position,
    parse_lsn,
    read_after,
    system_of,
)
from runtime.settings import ReadSettings

log = structlog.get_logger(__name__)

TOKEN_SECONDS_MAX: Final = 0.25
"""How long the answer to a write waits for its token; after that the token says "the primary"."""

# What replicas could have by now: they are sent what was flushed.
_FLUSHED: Final = """
SELECT pg_current_wal_flush_lsn()::text AS lsn, (SELECT system_identifier FROM pg_control_system()) AS system
"""
# Never less than a commit that was told before, not even an asynchronous one.
_INSERTED: Final = """
SELECT pg_current_wal_insert_lsn()::text AS lsn, (SELECT system_identifier FROM pg_control_system()) AS system
"""


class ReadPool:
    """What queries that only read run on (an `Executor`); a Service that watches the replicas."""

    name = "read-pool"

    def __init__(self, primary: Pool, replicas: Sequence[Replica] = ()) -> None:
        self._primary = primary
        self._replicas = tuple(replicas)
        self._positions = PrimaryPositions()
        self._asking = asyncio.Lock()
        self._begun = 0
        self._answered = (0, UNKNOWN)

    @property
    def has_replicas(self) -> bool:
        """Whether anything but the primary may be read from."""
        return bool(self._replicas)

    @property
    def replicas_in_use(self) -> list[str]:
        """The replicas that are read from now."""
        return [replica.name for replica in self._replicas if replica.in_use]

    async def fetch(self, query: str, /, *arguments: object) -> Any:  # noqa: ANN401  the query knows
        """All rows."""
        return await self._read("fetch", query, arguments)

    async def fetchrow(self, query: str, /, *arguments: object) -> Any:  # noqa: ANN401  the query knows
        """The first row or None."""
        return await self._read("fetchrow", query, arguments)

    async def fetchval(self, query: str, /, *arguments: object) -> Any:  # noqa: ANN401  the query knows
        """The first row's first value or None."""
        return await self._read("fetchval", query, arguments)

    async def execute(self, query: str, /, *_arguments: object) -> str:
        """Nothing: raises TypeError, for what changes something has no business here."""
        raise TypeError(f"this pool only reads, and was asked to {query[:40]!r}")

    async def executemany(self, command: str, _arguments: Iterable[Any], /) -> None:
        """Nothing: raises TypeError, see `execute`."""
        raise TypeError(f"this pool only reads, and was asked to {command[:40]!r}")

    async def run(self) -> None:
        """Watch the primary's position and every replica's until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch_primary(), name="read-pool-primary")
            for replica in self._replicas:
                tasks.create_task(replica.watch(self._positions), name=f"read-pool-{replica.name}")

    async def token(self) -> str | None:
        """What to give to somebody who has just written: a token that stands for all that is committed by now.

        None without replicas. Many at once share a question to the primary, but nobody takes the answer of one that
        was begun before they asked: their commit may not be in it.
        """
        if not self._replicas:
            return None
        wanted = self._begun + 1
        try:
            async with asyncio.timeout(TOKEN_SECONDS_MAX), self._asking:
                number, token = self._answered
                if number >= wanted:
                    return token
                self._begun = number = self._begun + 1
                token = encode_position(await self._ask_primary(_INSERTED, TOKEN_SECONDS_MAX))
                self._answered = (number, token)
                return token
        except AWAY:
            raise_if_cancelled()
            return UNKNOWN

    async def _read(self, method: Method, query: str, arguments: Sequence[object]) -> Any:  # noqa: ANN401  see fetch
        replica, reason = self._choose()
        if replica is not None:
            try:
                answer = await replica.read(method, query, arguments)
            except ReadElsewhere as error:
                reason = error.reason
            else:
                metrics.postgres_reads.labels("replica", "").inc()
                return answer
        metrics.postgres_reads.labels("primary", reason).inc()
        return await getattr(self._primary, method)(query, *arguments)

    def _choose(self) -> tuple[Replica | None, str]:
        """The replica with the least to do of those that will do, or why it is the primary."""
        usable = [replica for replica in self._replicas if replica.in_use]
        if not usable:
            return None, "none in use" if self._replicas else "no replicas"
        token = read_after()
        if token is not None:
            position = decode_position(token)
            usable = [replica for replica in usable if position is not None and replica.reached(position)]
            if not usable:
                return None, "own write"
        return min(usable, key=lambda replica: replica.reading), ""

    async def _ask_primary(self, question: str, seconds_max: float) -> Position:
        row = await self._primary.fetchrow(question, timeout=seconds_max)
        assert row is not None  # noqa: S101  both questions have one row
        return Position(system_of(row["system"]), parse_lsn(row["lsn"]))

    async def _watch_primary(self) -> None:
        """Note where its log ends. While it is away nothing new is known, and replicas are judged by what was."""
        loop = asyncio.get_running_loop()
        while True:
            if self._replicas:
                try:
                    position = await self._ask_primary(_FLUSHED, ANSWER_SECONDS_MAX)
                    self._positions.note(loop.time(), position.lsn, position.system)
                except AWAY as error:
                    raise_if_cancelled()
                    log.debug("primary_position_unknown", reason=str(error) or type(error).__name__)
            await asyncio.sleep(WATCH_SECONDS)


@asynccontextmanager
async def open_read_pool(settings: ReadSettings, primary: Pool, *, schema: str) -> AsyncIterator[ReadPool]:
    """Reads for `schema`; waits for no replica. The pool is a Service to run, and closed on leaving."""
    dsns = settings.replica_dsns
    async with AsyncExitStack() as stack:
        replicas = []
        for dsn in dsns:
            pool = await stack.enter_async_context(
                open_lazy_pool(
                    settings,
                    dsn,
                    schema=schema,
                    connections_max=max(1, settings.postgres_replica_connections_max // len(dsns)),
                )
            )
            replicas.append(
                Replica(
                    dsn,
                    pool,
                    schema=schema,
                    lag_seconds_max=settings.postgres_replica_lag_seconds_max,
                    read_seconds_max=settings.postgres_replica_read_seconds_max,
                    healthy_seconds=settings.postgres_replica_healthy_seconds,
                )
            )
        yield ReadPool(primary, replicas)
