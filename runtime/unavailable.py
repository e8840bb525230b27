"""Which exceptions mean "a dependency is away" (try again), as opposed to "this cannot work" (a mistake)."""

import asyncpg
import redis.exceptions

# OSError covers refused and reset connections and, since Python 3.11, TimeoutError (asyncio's included).
_AWAY: tuple[type[Exception], ...] = (
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

PERHAPS_AWAY: tuple[type[Exception], ...] = (*_AWAY, asyncpg.InterfaceError)
"""What a loop catches that waits for its dependency; then it asks `is_unavailable`, and raises what is a mistake.

A connection of a pool that was closed under its user is an InterfaceError, and so is a wrong number of arguments.
"""


def is_unavailable(error: BaseException) -> bool:
    """Whether trying again later can help, because Postgres, Redis or a peer did not answer."""
    if isinstance(error, _AWAY):
        return True
    # asyncpg says "connection is closed" and "pool is closing" as a bare InterfaceError, like its usage errors
    return isinstance(error, asyncpg.InterfaceError) and "clos" in str(error)
