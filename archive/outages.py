"""Which errors mean that Postgres or the object store is away, so that waiting is the cure."""

from __future__ import annotations

from runtime.objects import StoreUnavailable
from runtime.unavailable import PERHAPS_AWAY, is_unavailable

# To be caught, and then judged by `is_outage`: asyncpg says "connection is closed" like its usage errors.
SUSPECTS: tuple[type[Exception], ...] = (*PERHAPS_AWAY, StoreUnavailable)


def is_outage(error: BaseException) -> bool:
    """Whether trying again later can help."""
    return isinstance(error, StoreUnavailable) or is_unavailable(error)
