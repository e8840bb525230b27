"""Login sessions in Postgres: their refresh tokens come in generations, and one that is late has been stolen.

A session is one login. Using one of its tokens spends the whole generation and begins the next. Within `GRACE_SECONDS`
a token of the generation just spent is answered once more, with another token of the present one: its client lost the
answer, or a second tab held the same token. Any later use of a spent token ends the session (RFC 9700 §4.14.2).
All of it is in the database under the session's row lock: neither a race nor a restart changes what a token is worth.
"""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import structlog

from accounts import metrics
from accounts.errors import BadCredentials, RefreshTokenInvalid, SessionNotFound
from accounts.store import Account, User
from runtime.ids import uuid7
from runtime.postgres import Connection, Pool, load_queries

log = structlog.get_logger(__name__)
QUERIES = load_queries("accounts")

REFRESH_TOKEN_BYTES = 32
GRACE_SECONDS = 10.0
ANSWERS_AGAIN_MAX = 10
"""Of one generation; whoever asks more often has some other trouble than a lost answer."""
SESSIONS_PER_USER_MAX = 50
CLIENT_CHARACTERS_MAX = 200

Outcome = Literal["rotated", "again", "reused", "unknown", "revoked", "expired"]


@dataclass(frozen=True)
class Login:
    """Who it is, in which session, and the refresh token that continues it; the token is nowhere else in the clear."""

    user: User
    session_id: UUID
    refresh_token: str


@dataclass(frozen=True)
class Session:
    """A login that goes on."""

    session_id: UUID
    started_at: datetime
    used_at: datetime
    expires_at: datetime
    client: str


class Sessions:
    """The sessions of all people; they end when not refreshed for `idle`."""

    def __init__(self, pool: Pool, *, idle: timedelta) -> None:
        self._pool = pool
        self._idle = idle

    async def start(self, account: Account, *, client: str = "") -> Login:
        """Begin a session; its first refresh token. The oldest of a person who has very many ends.

        Raises BadCredentials when the password was changed since `account` was read: that change ends every login by
        the one of before, also this one, which was under way.
        """
        user, session_id = account.user, uuid7()
        token, token_hash = _new_refresh_token()
        async with self._pool.acquire() as connection, connection.transaction():
            if not await QUERIES.start_session(
                connection,
                session_id=session_id,
                user_id=user.user_id,
                password_hash=account.password_hash,
                expires_at=self._expires_at(),
                client=client[:CLIENT_CHARACTERS_MAX],
            ):
                raise BadCredentials("the password was changed a moment ago")
            await QUERIES.add_refresh_token(connection, token_hash=token_hash, session_id=session_id, generation=0)
            await QUERIES.revoke_sessions_beyond(connection, user_id=user.user_id, sessions_max=SESSIONS_PER_USER_MAX)
        return Login(user, session_id, token)

    async def rotate(self, refresh_token: str) -> Login:
        """Spend a refresh token for the next one. Raises RefreshTokenInvalid; a late one ends its whole session."""
        presented = _hash(refresh_token)
        async with self._pool.acquire() as connection, connection.transaction():
            session = await QUERIES.lock_session_of_token(connection, token_hash=presented)
            outcome = await self._outcome(connection, session, presented)
            token = await self._next_token(connection, session, presented, outcome) if session is not None else None
        # Raised only here: within the transaction it would undo the revocation.
        metrics.refreshes.labels(outcome).inc()
        if outcome == "reused":
            log.warning("refresh_token_reused", user_id=str(session["user_id"]), session_id=str(session["session_id"]))
        if session is None or token is None:
            raise RefreshTokenInvalid("log in again")
        user = User(session["user_id"], session["username"], session["is_operator"])
        return Login(user, session["session_id"], token)

    async def end(self, refresh_token: str) -> None:
        """Log out: end the session of a refresh token; one that is not known changes nothing."""
        async with self._pool.acquire() as connection, connection.transaction():
            session = await QUERIES.lock_session_of_token(connection, token_hash=_hash(refresh_token))
            if session is not None:
                await QUERIES.revoke_session(connection, session_id=session["session_id"])

    async def end_one(self, user_id: UUID, session_id: UUID) -> None:
        """End a session of a person's own; raises SessionNotFound, for those of others as well."""
        if not await QUERIES.revoke_session_of(self._pool, user_id=user_id, session_id=session_id):
            raise SessionNotFound("none of your logins that go on has this id")

    async def end_all(self, user_id: UUID) -> int:
        """End every session of a person; how many there were."""
        ended: int = await QUERIES.revoke_sessions(self._pool, user_id=user_id, except_id=None)
        log.info("logged_out_everywhere", user_id=str(user_id), sessions_ended=ended)
        return ended

    async def of(self, user_id: UUID) -> Sequence[Session]:
        """A person's sessions that go on, the newest first."""
        rows = await QUERIES.list_sessions(self._pool, user_id=user_id, sessions_max=SESSIONS_PER_USER_MAX)
        return [Session(**row) for row in rows]

    async def _outcome(self, connection: Connection, session: Mapping[str, Any] | None, presented: bytes) -> Outcome:
        if session is None:
            return "unknown"
        if session["revoked"]:
            return "revoked"
        if session["expired"]:
            return "expired"
        present: int = session["generation"]
        generation = await QUERIES.find_token_generation(connection, token_hash=presented, session_generation=present)
        return judge(
            generation, present, rotated_seconds_ago=session["rotated_seconds_ago"], again=session["answered_again"]
        )

    async def _next_token(
        self, connection: Connection, session: Mapping[str, Any], presented: bytes, outcome: Outcome
    ) -> str | None:
        session_id, generation = session["session_id"], session["generation"]
        if outcome == "reused":
            await QUERIES.revoke_session(connection, session_id=session_id)
        if outcome == "rotated":
            await QUERIES.use_refresh_token(connection, token_hash=presented, generation=generation)
            await QUERIES.begin_generation(connection, session_id=session_id, expires_at=self._expires_at())
            generation += 1
        elif outcome == "again":
            await QUERIES.count_answer(connection, session_id=session_id)
        else:
            return None
        token, token_hash = _new_refresh_token()
        await QUERIES.add_refresh_token(connection, token_hash=token_hash, session_id=session_id, generation=generation)
        return token

    def _expires_at(self) -> datetime:
        return datetime.now(UTC) + self._idle


def judge(generation: int, present: int, *, rotated_seconds_ago: float | None, again: int) -> Outcome:
    """What a token of a session that goes on is worth, by its generation and the session's present one."""
    if generation == present:
        return "rotated"
    # A session that never rotated has spent none of its own: before its first generation there is nothing to forgive.
    rotated_lately = rotated_seconds_ago is not None and rotated_seconds_ago <= GRACE_SECONDS
    just_spent = generation == present - 1 and rotated_lately
    return "again" if just_spent and again < ANSWERS_AGAIN_MAX else "reused"


def _new_refresh_token() -> tuple[str, bytes]:
    token = secrets.token_urlsafe(REFRESH_TOKEN_BYTES)
    return token, _hash(token)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
