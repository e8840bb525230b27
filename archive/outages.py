"""Which errors mean that Postgres or the object store is away, so that waiting is the cure."""

from __future__ import annotations

import asyncpg

from runtime.objects import StoreUnavailable
from runtime.unavailable import UNAVAILABLE, is_unavailable

# To be caught, and then judged by `is_outage`: asyncpg says "connection is closed" like its usage errors.
SUSPECTS: tuple[type[Exception], ...] = (*UNAVAILABLE, asyncpg.InterfaceError, StoreUnavailable)


def is_outage(error: BaseException) -> bool:
    """Whether trying again later can help."""
    return isinstance(error, StoreUnavailable) or is_unavailable(error)
