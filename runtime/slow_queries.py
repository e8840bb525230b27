"""Times every statement of a connection: a histogram by the query's name, and a line of the log when it was slow.

What is timed is the statement alone, from its sending to its answer, without the wait for a pooled connection. It is
known by the name it has in its `.sql` file, as `package.name`; parameters and texts are in no line and no metric.
Statements without a name are `unnamed`; those that begin and end transactions have one, since a commit waits for the
disk.
"""

from collections.abc import Iterable
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import asyncpg
import structlog

from runtime import metrics

log = structlog.get_logger(__name__)

# As in asyncpg, whose annotations say it in a dozen overloads.
Option: TypeAlias = Any
Answer: TypeAlias = Any

if TYPE_CHECKING:
    from prometheus_client import Histogram

    _Session: TypeAlias = asyncpg.Connection[asyncpg.Record]
else:
    _Session = asyncpg.Connection

UNNAMED = "unnamed"
SLOW_SECONDS_DEFAULT = 0.1
TOLD_EVERY_SECONDS = 1.0
"""A query is written down once in so long; the line says how many others of its name there were since the last."""


class _Statement:
    """What is known of the statements of one name."""

    __slots__ = ("_histogram", "_told_at", "_untold", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self._histogram: Histogram | None = None
        self._told_at = float("-inf")
        self._untold = 0

    def took(self, seconds: float, *, slow_seconds: float) -> None:
        # The child is kept, since to look it up by its label costs more than to count.
        if self._histogram is None:
            self._histogram = metrics.query_seconds.labels(self.name)
        self._histogram.observe(seconds)
        if seconds >= slow_seconds:
            self._was_slow(seconds)

    def _was_slow(self, seconds: float) -> None:
        metrics.slow_queries.labels(self.name).inc()
        now = perf_counter()
        if now - self._told_at < TOLD_EVERY_SECONDS:
            self._untold += 1
            return
        log.warning("query_slow", query=self.name, milliseconds=round(seconds * 1_000, 1), untold=self._untold)
        self._told_at, self._untold = now, 0


_unnamed: Final = _Statement(UNNAMED)
_named: Final[dict[str, _Statement]] = {
    f"{text};": _Statement(f"transaction.{name}")
    for name, text in (("begin", "BEGIN"), ("commit", "COMMIT"), ("rollback", "ROLLBACK"))
}


def name_statement(sql: str, name: str) -> None:
    """From now on the statement with exactly this text is known as `name`."""
    known = _named.get(sql)
    if known is None or known.name != name:
        _named[sql] = _Statement(name)


def statement_took(sql: str, seconds: float, *, slow_seconds: float) -> None:
    """Count a statement that has ended, however it did, and write it down when it took `slow_seconds` or longer."""
    _named.get(sql, _unnamed).took(seconds, slow_seconds=slow_seconds)


class TimedConnection(_Session):
    """A connection that times its statements; not COPY, cursors and prepared statements, which no service uses."""

    slow_seconds: float = SLOW_SECONDS_DEFAULT

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str:  # noqa: ASYNC109  asyncpg's
        """See asyncpg."""
        began = perf_counter()
        try:
            return await super().execute(query, *args, timeout=timeout)
        finally:
            statement_took(query, perf_counter() - began, slow_seconds=self.slow_seconds)

    async def executemany(
        self,
        command: str,
        args: Iterable[Any],
        *,
        timeout: float | None = None,  # noqa: ASYNC109  asyncpg's
    ) -> None:
        """See asyncpg. Timed as one."""
        began = perf_counter()
        try:
            await super().executemany(command, args, timeout=timeout)
        finally:
            statement_took(command, perf_counter() - began, slow_seconds=self.slow_seconds)

    async def fetch(self, query: str, *args: object, **options: Option) -> Answer:
        """See asyncpg."""
        began = perf_counter()
        try:
            return await super().fetch(query, *args, **options)
        finally:
            statement_took(query, perf_counter() - began, slow_seconds=self.slow_seconds)

    async def fetchval(self, query: str, *args: object, **options: Option) -> Answer:
        """See asyncpg."""
        began = perf_counter()
        try:
            return await super().fetchval(query, *args, **options)
        finally:
            statement_took(query, perf_counter() - began, slow_seconds=self.slow_seconds)

    async def fetchrow(self, query: str, *args: object, **options: Option) -> Answer:
        """See asyncpg."""
        began = perf_counter()
        try:
            return await super().fetchrow(query, *args, **options)
        finally:
            statement_took(query, perf_counter() - began, slow_seconds=self.slow_seconds)
