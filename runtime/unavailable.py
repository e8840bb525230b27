"""Which exceptions mean "a dependency is away" (try again), as opposed to "this cannot work" (a mistake)."""

import asyncpg
import redis.exceptions

# OSError covers refused and reset connections and, since Python 3.11, TimeoutError (asyncio's included).
UNAVAILABLE: tuple[type[Exception], ...] = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.QueryCanceledError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.exceptions.ConnectionDoesNotExistError,
    asyncpg.InternalClientError,  # what asyncpg says when the server's farewell crosses with a statement of ours
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
    redis.exceptions.BusyLoadingError,
)


def is_unavailable(error: BaseException) -> bool:
    """Whether trying again later can help, because Postgres, Redis or a peer did not answer."""
    if isinstance(error, UNAVAILABLE):
        return True
    # asyncpg says "connection is closed" and "pool is closing" as a bare InterfaceError, like its usage errors
    return isinstance(error, asyncpg.InterfaceError) and "clos" in str(error)
