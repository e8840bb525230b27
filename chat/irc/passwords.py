"""Passwords for IRC, which outlive access tokens: made and revoked by their owner, kept as hashes."""

import hashlib
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from chat.irc.errors import IrcPasswordNotFound, TooManyIrcPasswords
from chat.store import QUERIES, note_person
from runtime.ids import uuid7
from runtime.postgres import Pool
from runtime.tokens import Caller

log = structlog.get_logger(__name__)

PASSWORD_BYTES: Final = 32
PASSWORD_CHARACTERS: Final = 2 * PASSWORD_BYTES
PASSWORDS_PER_USER_MAX: Final = 10
USE_NOTED_EVERY_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Password:
    """One password of a person, without itself."""

    password_id: UUID
    name: str
    created_at: datetime
    last_used_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PasswordOwner:
    """Whom a password lets in."""

    password_id: UUID
    caller: Caller


class Passwords:
    """The table of IRC passwords."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(self, caller: Caller, name: str) -> tuple[Password, str]:
        """A new one, and its text, which is nowhere else; raises TooManyIrcPasswords."""
        # Hexadecimal, since some clients fold what they are given to small letters.
        text = secrets.token_hex(PASSWORD_BYTES)
        password_id = uuid7()
        async with self._pool.acquire() as connection, connection.transaction():
            await note_person(connection, caller.user_id, caller.name)
            await QUERIES.lock_person(connection, user_id=caller.user_id)
            if await QUERIES.count_irc_passwords(connection, user_id=caller.user_id) >= PASSWORDS_PER_USER_MAX:
                raise TooManyIrcPasswords(f"at most {PASSWORDS_PER_USER_MAX}: delete one that nothing uses")
            created_at = await QUERIES.add_irc_password(
                connection,
                password_id=password_id,
                user_id=caller.user_id,
                name=name,
                password_hash=_hash(text),
            )
        log.info("irc_password_created", user_id=str(caller.user_id), password_id=str(password_id))
        return Password(password_id, name, created_at), text

    async def list_of(self, user_id: UUID, *, before: UUID | None, items_max: int) -> list[Password]:
        """A person's, the newest first."""
        rows = await QUERIES.list_irc_passwords(self._pool, user_id=user_id, before_id=before, limit=items_max)
        return [Password(**row) for row in rows]

    async def delete(self, user_id: UUID, password_id: UUID) -> None:
        """It lets nobody in any more, and whoever came in by it has to go; raises IrcPasswordNotFound."""
        if not await QUERIES.delete_irc_password(self._pool, user_id=user_id, password_id=password_id):
            raise IrcPasswordNotFound("none of yours has this id")
        log.info("irc_password_deleted", user_id=str(user_id), password_id=str(password_id))

    async def owner_of(self, text: str) -> PasswordOwner | None:
        """Whom it lets in, if anybody."""
        row = await QUERIES.find_irc_password(self._pool, password_hash=_hash(text.lower()))
        if row is None:
            return None
        await QUERIES.note_irc_password_used(
            self._pool, password_id=row["password_id"], at_least_seconds=USE_NOTED_EVERY_SECONDS
        )
        return PasswordOwner(row["password_id"], Caller(row["user_id"], row["username"]))

    async def left_of(self, password_ids: Collection[UUID]) -> set[UUID]:
        """Those of them that have not been deleted."""
        rows = await QUERIES.find_irc_passwords_left(self._pool, password_ids=list(password_ids))
        return {row["password_id"] for row in rows}


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
