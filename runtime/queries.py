"""Named queries: aiosql reads `sql/queries*.sql`, each name becomes an awaitable that takes parameters by keyword."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, Protocol, TypeAlias

import aiosql
import aiosql.queries
from aiosql.adapters.asyncpg import AsyncPGAdapter
from aiosql.types import SQLOperationType

from runtime.slow_queries import name_statement

# A row, a value or a list of rows: only the query knows, so the caller names the type where the answer lands.
Answer: TypeAlias = Any


class Executor(Protocol):
    """What a query runs on: a connection, a pooled one, or a pool (which takes a connection for that one query)."""

    def fetch(self, query: str, /, *args: object) -> Awaitable[Any]:
        """All rows."""
        ...

    def fetchrow(self, query: str, /, *args: object) -> Awaitable[Any]:
        """The first row or None."""
        ...

    def fetchval(self, query: str, /, *args: object) -> Awaitable[Any]:
        """The first row's first value or None."""
        ...

    def execute(self, query: str, /, *args: object) -> Awaitable[str]:
        """The command's status."""
        ...

    def executemany(self, command: str, args: Iterable[Any], /) -> Awaitable[None]:
        """Nothing; all or none are done."""
        ...


class Query:
    """One query. Its ending in the file decides what awaiting it gives.

    `^` a row or None; `$` a single value or None; `!` the number of rows changed; `*!` many at once (a list of
    mappings), None; `<!` the RETURNING row (its value when it has one column); nothing: a list of rows (with a LIMIT).
    """

    def __init__(self, name: str, sql: str, operation: SQLOperationType, parameters: tuple[str, ...], doc: str) -> None:
        self.name = name
        self.sql = sql
        self.operation = operation
        self.parameters = parameters
        self.doc = doc
        self._expected = frozenset(parameters)
        self._run = _RUN[operation]

    def arguments(self, given: Mapping[str, object]) -> list[object]:
        """`given` in the order of $1, $2, …; raises TypeError for a missing or an unknown name."""
        if given.keys() != self._expected:
            raise TypeError(f"query {self.name} takes {sorted(self._expected)}, was given {sorted(given)}")
        return [given[parameter] for parameter in self.parameters]

    async def __call__(
        self, connection: Executor, many: Iterable[Mapping[str, object]] | None = None, /, **given: object
    ) -> Answer:
        """Run it on a connection (or a pool)."""
        if self.operation is SQLOperationType.INSERT_UPDATE_DELETE_MANY:
            return await connection.executemany(self.sql, [self.arguments(one) for one in many or ()])
        return await self._run(connection, self.sql, self.arguments(given))


class Queries:
    """The queries of one package as attributes: `await queries.find_stream(connection, stream_id=…)`."""

    def __init__(self, package: str, queries: Mapping[str, Query]) -> None:
        self._package = package
        self._queries = dict(queries)

    def __getattr__(self, name: str) -> Query:
        try:
            return self._queries[name]
        except KeyError:
            raise AttributeError(f"{self._package}/sql/queries*.sql has no query {name!r}") from None

    def all(self) -> list[Query]:
        """Every query, in the order of their names."""
        return [self._queries[name] for name in sorted(self._queries)]


@cache
def load_queries(package: str) -> Queries:
    """The queries of `<package>/sql/queries*.sql`, a file for each subject; raises FileNotFoundError without any."""
    queries = parse_queries(package, "\n".join(path.read_text() for path in query_files(package)))
    for query in queries.all():
        name_statement(query.sql, f"{package}.{query.name}")
    return queries


def query_files(package: str) -> list[Traversable]:
    """The files that hold a package's queries; raises FileNotFoundError when there is none."""
    folder = resources.files(package).joinpath("sql")
    found = [path for path in folder.iterdir() if path.name.startswith("queries") and path.name.endswith(".sql")]
    if not found:
        raise FileNotFoundError(f"{package}/sql has no queries.sql")
    return sorted(found, key=lambda path: path.name)


def parse_queries(package: str, text: str) -> Queries:
    """The queries in `text`; for `load_queries`, and for tests."""
    adapter = AsyncPGAdapter()  # type: ignore[no-untyped-call]  # aiosql does not annotate it
    loaded = aiosql.from_str(text, lambda: adapter, mandatory_parameters=False)
    names = [name for name in loaded.available_queries if not name.endswith("_cursor")]
    found = {}
    for name in names:
        function = getattr(loaded, name)
        parameters = tuple(adapter.var_sorted[name])
        found[name] = Query(name, function.sql, function.operation, parameters, function.__doc__ or "")
    return Queries(package, found)


async def _rows(connection: Executor, sql: str, arguments: list[object]) -> Answer:
    return await connection.fetch(sql, *arguments)


async def _row(connection: Executor, sql: str, arguments: list[object]) -> Answer:
    return await connection.fetchrow(sql, *arguments)


async def _value(connection: Executor, sql: str, arguments: list[object]) -> Answer:
    return await connection.fetchval(sql, *arguments)


async def _changed(connection: Executor, sql: str, arguments: list[object]) -> int:
    status: str = await connection.execute(sql, *arguments)
    count = status.rpartition(" ")[2]  # "UPDATE 3", "INSERT 0 1", but "SET"
    return int(count) if count.isdigit() else 0


async def _returned(connection: Executor, sql: str, arguments: list[object]) -> Answer:
    row = await connection.fetchrow(sql, *arguments)
    return row[0] if row is not None and len(row) == 1 else row


_RUN: dict[SQLOperationType, Callable[[Executor, str, list[object]], Awaitable[Answer]]] = {
    SQLOperationType.SELECT: _rows,
    SQLOperationType.SELECT_ONE: _row,
    SQLOperationType.SELECT_VALUE: _value,
    SQLOperationType.INSERT_UPDATE_DELETE: _changed,
    SQLOperationType.INSERT_UPDATE_DELETE_MANY: _changed,
    SQLOperationType.INSERT_RETURNING: _returned,
    SQLOperationType.SCRIPT: _changed,
}
