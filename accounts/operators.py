"""Operators: the people who run the installation, and may end or kick streams of others."""

from collections.abc import Sequence
from uuid import UUID

import structlog

from accounts.store import User
from runtime.postgres import Pool, load_queries

log = structlog.get_logger(__name__)
QUERIES = load_queries("accounts")

OPERATORS_MAX = 1_000


async def set_operator(pool: Pool, username: str, *, is_operator: bool) -> UUID | None:
    """Make somebody an operator, or none; their id, None when nobody has the name (in lower case).

    Their access tokens say so from the next refresh on.
    """
    user_id: UUID | None = await QUERIES.set_operator(pool, username=username, is_operator=is_operator)
    if user_id is not None:
        log.info("operator_set", user_id=str(user_id), is_operator=is_operator)
    return user_id


async def list_operators(pool: Pool) -> Sequence[User]:
    """The operators by name."""
    rows = await QUERIES.list_operators(pool, operators_max=OPERATORS_MAX)
    return [User(row["user_id"], row["username"], is_operator=True) for row in rows]
