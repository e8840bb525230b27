"""One replica: its pool, what is known of it, and the watch that says whether it is read from."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import asyncpg
import structlog
from pydantic import SecretStr

from runtime import metrics
from runtime.cancellation import raise_if_cancelled
from runtime.postgres import Connection, Pool, connect
from runtime.read_pool_lag import Breaker, PrimaryPositions
from runtime.read_pool_token import Position, parse_lsn, system_of
from runtime.unavailable import is_unavailable

log = structlog.get_logger(__name__)

WATCH_SECONDS: Final = 0.25
ANSWER_SECONDS_MAX: Final = 0.75
"""A replica that has not even said how far it is by then is frozen, or cannot be reached."""

Method = Literal["fetch", "fetchrow", "fetchval"]
Reason = Literal["behind", "silent", "failed", "no replica", "another cluster"]
AWAY: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""Whatever a replica's driver may say: no error of a replica is an error of the process."""

# Not the age of the last transaction that was replayed, which grows while the primary has nothing to do.
_ASK: Final = """
SELECT pg_is_in_recovery() AS in_recovery, pg_last_wal_replay_lsn()::text AS replayed,
       (SELECT system_identifier FROM pg_control_system()) AS system
"""


class ReadElsewhere(Exception):
    """A replica did not answer this read; the primary will."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Replica:
    """A server that follows the primary."""

    def __init__(
        self,
        dsn: SecretStr,
        pool: Pool,
        *,
        schema: str,
        lag_seconds_max: float,
        read_seconds_max: float,
        healthy_seconds: float,
    ) -> None:
        self.name = _name(dsn)
        self._dsn = dsn
        self._pool = pool
        self._schema = schema
        self._lag_seconds_max = lag_seconds_max
        self._read_seconds_max = read_seconds_max
        self._breaker = Breaker(healthy_seconds)
        self._replayed: Position | None = None
        self.reading = 0
        """Reads that it has not answered yet."""

    @property
    def in_use(self) -> bool:
        """Whether it may be read from."""
        return self._breaker.state == "in"

    def reached(self, position: Position) -> bool:
        """Whether it is known to have replayed this much."""
        known = self._replayed
        return known is not None and known.system == position.system and known.lsn >= position.lsn

    async def read(self, method: Method, query: str, arguments: Sequence[object]) -> Any:  # noqa: ANN401  the query knows
        """The answer of one statement; raises ReadElsewhere when this replica does not give it in time, or at all."""
        self.reading += 1
        try:
            return await self._read(method, query, arguments)
        finally:
            self.reading -= 1

    async def _read(self, method: Method, query: str, arguments: Sequence[object]) -> Any:  # noqa: ANN401  see read
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + self._read_seconds_max
        try:
            connection = await self._pool.acquire(timeout=self._read_seconds_max)
        except AWAY as error:
            raise_if_cancelled()
            if isinstance(error, TimeoutError):
                # All connections lent is no bad health: the watch, which has its own, tells a frozen server from that.
                raise ReadElsewhere("busy") from error
            self._bad("failed", error)
            raise ReadElsewhere("failed") from error
        try:
            return await getattr(connection, method)(query, *arguments, timeout=max(give_up_at - loop.time(), 0.001))
        except AWAY as error:
            raise_if_cancelled()
            if is_unavailable(error):
                connection.terminate()  # giving it back would wait for an answer to its cancellation
                self._bad("silent" if isinstance(error, TimeoutError) else "failed", error)
            # Else it is a conflict with what is being replayed, or a table that is not there yet: the primary knows.
            raise ReadElsewhere("failed") from error
        finally:
            await self._pool.release(connection)

    async def watch(self, primary: PrimaryPositions) -> None:
        """Ask it how far it is, until cancelled."""
        while True:
            try:
                await self._watch_session(primary)
            except AWAY as error:
                raise_if_cancelled()
                self._bad("silent" if isinstance(error, TimeoutError) else "failed", error)
            await asyncio.sleep(WATCH_SECONDS)

    async def _watch_session(self, primary: PrimaryPositions) -> None:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            connection = await connect(self._dsn, schema=self._schema, command_timeout_seconds=ANSWER_SECONDS_MAX)
        # At once: a server that has crashed may come back with less than it had replayed.
        connection.add_termination_listener(self._lost)
        try:
            while True:
                self._judge(await connection.fetchrow(_ASK), primary)
                await asyncio.sleep(WATCH_SECONDS)
        finally:
            connection.remove_termination_listener(self._lost)
            connection.terminate()

    def _judge(self, row: asyncpg.Record | None, primary: PrimaryPositions) -> None:
        now = _now()
        assert row is not None  # noqa: S101  the statement always has one row
        system = system_of(row["system"])
        if not row["in_recovery"] or row["replayed"] is None or primary.system not in (None, system):
            self._bad("another cluster", None)
            return
        if not primary.known:
            return
        self._replayed = Position(system, parse_lsn(row["replayed"]))
        lag_seconds = primary.lag_seconds(self._replayed.lsn, now)
        metrics.postgres_replica_lag_seconds.labels(self.name).set(lag_seconds)
        if lag_seconds > self._lag_seconds_max:
            self._bad("behind", None)
        elif self._breaker.good(now):
            metrics.postgres_replica_in_use.labels(self.name).set(1)
            log.info("replica_in_use", replica=self.name, lag_seconds=round(lag_seconds, 3))

    def _lost(self, _connection: Connection) -> None:
        self._bad("failed", None)

    def _bad(self, reason: Reason, error: BaseException | None) -> None:
        if reason != "behind":
            self._replayed = None
        metrics.postgres_replica_in_use.labels(self.name).set(0)
        if self._breaker.bad(_now(), reason):
            metrics.postgres_replica_trips.labels(self.name, reason).inc()
            detail = (str(error) or type(error).__name__) if error is not None else reason
            log.warning("replica_left_out", replica=self.name, reason=reason, detail=detail)


def _name(dsn: SecretStr) -> str:
    parts = urlsplit(dsn.get_secret_value())
    return f"{parts.hostname or 'localhost'}:{parts.port or 5432}"


def _now() -> float:
    return asyncio.get_running_loop().time()
