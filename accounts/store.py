"""Users and login sessions in Postgres. A user and the event that tells of it are one transaction."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from accounts import metrics
from accounts.errors import RefreshTokenInvalid, UsernameTaken
from eventbus.outbox import Outbox
from events import AccountRegistered
from runtime.ids import uuid7
from runtime.postgres import Pool, load_queries

log = structlog.get_logger(__name__)
QUERIES = load_queries("accounts")

REFRESH_TOKEN_BYTES = 32


@dataclass(frozen=True)
class User:
    """A person as others may know them."""

    user_id: UUID
    username: str


@dataclass(frozen=True)
class Login:
    """Who it is, and the refresh token that continues their session; the token is nowhere else in the clear."""

    user: User
    refresh_token: str


class AccountStore:
    """What the API does with the database; sessions end when not refreshed for `session_idle`."""

    def __init__(self, pool: Pool, outbox: Outbox, *, session_idle: timedelta) -> None:
        self._pool = pool
        self._outbox = outbox
        self._session_idle = session_idle

    async def add_user(self, username: str, password_hash: str) -> User:
        """Register; `account.registered` is said with it. Raises UsernameTaken."""
        async with self._outbox.transaction() as transaction:
            row = await QUERIES.add_user(
                transaction.connection, user_id=uuid7(), username=username, password_hash=password_hash
            )
            if row is None:
                raise UsernameTaken(f"the username {username} is taken", username=username)
            await transaction.say(
                AccountRegistered(user_id=row["user_id"], username=username, registered_at=row["registered_at"])
            )
        log.info("account_registered", user_id=str(row["user_id"]))
        return User(row["user_id"], username)

    async def find_user(self, username: str) -> tuple[User, str] | None:
        """The user of a name (in lower case) and the hash of their password."""
        row = await QUERIES.find_user_by_name(self._pool, username=username)
        return None if row is None else (User(row["user_id"], row["username"]), row["password_hash"])

    async def replace_password_hash(self, user: User, old_hash: str, new_hash: str) -> None:
        """Store the same password hashed with today's parameters."""
        await QUERIES.replace_password_hash(self._pool, user_id=user.user_id, old_hash=old_hash, new_hash=new_hash)

    async def start_session(self, user: User) -> Login:
        """Begin a session with its first refresh token."""
        session_id = uuid7()
        token, token_hash = _new_refresh_token()
        async with self._outbox.transaction() as transaction:
            connection = transaction.connection
            await QUERIES.start_session(
                connection, session_id=session_id, user_id=user.user_id, expires_at=self._expires_at()
            )
            await QUERIES.add_refresh_token(connection, token_hash=token_hash, session_id=session_id)
        return Login(user, token)

    async def rotate(self, refresh_token: str) -> Login:
        """Spend a refresh token for the next one. Raises RefreshTokenInvalid; a spent one ends its whole session.

        A token that comes twice was stolen, from whom cannot be told: thief and owner both have to log in (RFC 9700
        §4.14.2).
        """
        presented = _hash(refresh_token)
        token, token_hash = _new_refresh_token()
        async with self._outbox.transaction() as transaction:
            connection = transaction.connection
            session = await QUERIES.lock_session_of_token(connection, token_hash=presented)
            outcome = _outcome(session)
            if outcome == "rotated" and not await QUERIES.use_refresh_token(connection, token_hash=presented):
                await QUERIES.revoke_session(connection, session_id=session["session_id"])
                outcome = "reused"
            if outcome == "rotated":
                await QUERIES.extend_session(
                    connection, session_id=session["session_id"], expires_at=self._expires_at()
                )
                await QUERIES.add_refresh_token(connection, token_hash=token_hash, session_id=session["session_id"])
        # Raised only here: within the transaction it would undo the revocation.
        metrics.refreshes.labels(outcome).inc()
        if outcome == "reused":
            log.warning("refresh_token_reused", user_id=str(session["user_id"]), session_id=str(session["session_id"]))
        if outcome != "rotated":
            raise RefreshTokenInvalid("log in again")
        return Login(User(session["user_id"], session["username"]), token)

    async def end_session(self, refresh_token: str) -> None:
        """Log out: end the session of a refresh token; one that is not known changes nothing."""
        async with self._outbox.transaction() as transaction:
            session = await QUERIES.lock_session_of_token(transaction.connection, token_hash=_hash(refresh_token))
            if session is not None:
                await QUERIES.revoke_session(transaction.connection, session_id=session["session_id"])

    def _expires_at(self) -> datetime:
        return datetime.now(UTC) + self._session_idle


def _outcome(session: Mapping[str, object] | None) -> str:
    if session is None:
        return "unknown"
    if session["revoked"]:
        return "revoked"
    return "expired" if session["expired"] else "rotated"


def _new_refresh_token() -> tuple[str, bytes]:
    token = secrets.token_urlsafe(REFRESH_TOKEN_BYTES)
    return token, _hash(token)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
