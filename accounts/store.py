"""Users in Postgres: who they are and what they are called. Each change and its event are one transaction."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import structlog

from accounts.errors import AccountGone, PasswordWrong, RenamedLately, UsernameTaken
from accounts.sealing import KeyedHash
from eventbus.outbox import Outbox
from events import AccountDeleted, AccountRegistered, AccountRenamed
from runtime.ids import uuid7
from runtime.postgres import Connection, Pool, load_queries

log = structlog.get_logger(__name__)
QUERIES = load_queries("accounts")


@dataclass(frozen=True)
class User:
    """A person as others may know them."""

    user_id: UUID
    username: str
    is_operator: bool = False


@dataclass(frozen=True)
class Account:
    """A person as only the login may know them."""

    user: User
    password_hash: str
    has_totp: bool


@dataclass(frozen=True)
class Names:
    """The rules for names that were given up and for giving them up."""

    rest_days: int
    """So long nobody else may have one."""
    rename_days: int
    """So long one has to keep a new one."""


class AccountStore:
    """Users, by name and by id."""

    def __init__(self, pool: Pool, outbox: Outbox, *, names: Names, hash_name: KeyedHash) -> None:
        self._pool = pool
        self._outbox = outbox
        self._names = names
        self._hash_name = hash_name

    async def add_user(self, username: str, password_hash: str) -> User:
        """Register; `account.registered` is said with it. Raises UsernameTaken."""
        async with self._outbox.transaction() as transaction:
            row = await QUERIES.add_user(
                transaction.connection, user_id=uuid7(), username=username, password_hash=password_hash
            )
            if row is None:
                raise _taken(username)
            # After the row is there: a deletion that ran beside this is over by now, and its name found resting.
            await self._take_name(transaction.connection, username, None)
            await transaction.say(
                AccountRegistered(user_id=row["user_id"], username=username, registered_at=row["registered_at"])
            )
        log.info("account_registered", user_id=str(row["user_id"]))
        return User(row["user_id"], username)

    async def find_by_name(self, username: str) -> Account | None:
        """The user of a name (in lower case) with the hash of their password."""
        row = await QUERIES.find_user_by_name(self._pool, username=username)
        if row is None:
            return None
        user = User(row["user_id"], row["username"], row["is_operator"])
        return Account(user, row["password_hash"], row["has_totp"])

    async def find(self, user_id: UUID) -> tuple[Account, datetime]:
        """A user by id, and when they registered. Raises AccountGone."""
        row = await QUERIES.find_user(self._pool, user_id=user_id)
        if row is None:
            raise _gone()
        user = User(row["user_id"], row["username"], row["is_operator"])
        return Account(user, row["password_hash"], row["has_totp"]), row["registered_at"]

    async def replace_password_hash(self, user_id: UUID, old_hash: str, new_hash: str) -> bool:
        """Store the same password hashed with today's parameters; False when it was replaced meanwhile."""
        replaced: int = await QUERIES.replace_password_hash(
            self._pool, user_id=user_id, old_hash=old_hash, new_hash=new_hash
        )
        return replaced > 0

    async def change_password(self, account: Account, new_hash: str, *, keep_session: UUID | None) -> int:
        """Store a new password and end all sessions but `keep_session`; how many were. One transaction.

        Whoever had the password of before is a stranger from then on: where it has let somebody in is known no more.

        Raises PasswordWrong when it was changed since `account` was read: what was given is the one of before.
        """
        user_id = account.user.user_id
        async with self._pool.acquire() as connection, connection.transaction():
            if not await QUERIES.replace_password_hash(
                connection, user_id=user_id, old_hash=account.password_hash, new_hash=new_hash
            ):
                raise PasswordWrong("it was changed a moment ago")
            ended: int = await QUERIES.revoke_sessions(connection, user_id=user_id, except_id=keep_session)
            await QUERIES.forget_sessions(connection, user_id=user_id, except_id=keep_session)
            await QUERIES.forget_addresses(connection, user_id=user_id)
        log.info("password_changed", user_id=str(user_id), sessions_ended=ended)
        return ended

    async def rename(self, user_id: UUID, username: str) -> tuple[User, str]:
        """Give a user another name, and say `account.renamed`; the answer has the name of before as well.

        Raises UsernameTaken, RenamedLately, AccountGone. The name one has changes nothing.
        """
        async with self._outbox.transaction() as transaction:
            connection = transaction.connection
            row = await QUERIES.lock_user(connection, user_id=user_id)
            if row is None:
                raise _gone()
            before: str = row["username"]
            if before == username:
                return User(user_id, username), before
            self._check_cool_down(row["renamed_at"])
            try:
                renamed_at = await QUERIES.rename_user(connection, user_id=user_id, username=username)
            except asyncpg.UniqueViolationError as error:  # somebody took it between the look and the write
                raise _taken(username) from error
            if renamed_at is None:
                raise _taken(username)
            await self._take_name(connection, username, user_id)
            await self._rest_name(connection, before, user_id)
            await transaction.say(AccountRenamed(user_id=user_id, username=username, renamed_at=renamed_at))
        log.info("account_renamed", user_id=str(user_id))
        return User(user_id, username), before

    async def delete(self, account: Account) -> str:
        """Delete a user with all that accounts has of them, and say `account.deleted`, in one transaction; their name.

        Raises AccountGone, and PasswordWrong when the password was changed since `account` was read.
        """
        user_id = account.user.user_id
        async with self._outbox.transaction() as transaction:
            row = await QUERIES.lock_user(transaction.connection, user_id=user_id)
            if row is None:
                raise _gone()
            if row["password_hash"] != account.password_hash:
                raise PasswordWrong("it was changed a moment ago")
            deleted_at = await QUERIES.delete_user(transaction.connection, user_id=user_id)
            await self._rest_name(transaction.connection, row["username"], None)
            await transaction.say(AccountDeleted(user_id=user_id, deleted_at=deleted_at))
        log.info("account_deleted", user_id=str(user_id))
        username: str = row["username"]
        return username

    def _check_cool_down(self, renamed_at: datetime | None) -> None:
        if renamed_at is None:
            return
        free_at = renamed_at + timedelta(days=self._names.rename_days)
        if free_at > datetime.now(UTC):
            raise RenamedLately(
                f"a name is kept for {self._names.rename_days} days", free_at=free_at.isoformat(timespec="seconds")
            )

    async def _take_name(self, connection: Connection, username: str, user_id: UUID | None) -> None:
        name_hash = self._hash_name(username)
        if await QUERIES.is_name_resting(connection, name_hash=name_hash, user_id=user_id):
            raise _taken(username)
        await QUERIES.wake_name(connection, name_hash=name_hash)

    async def _rest_name(self, connection: Connection, username: str, user_id: UUID | None) -> None:
        if self._names.rest_days:
            await QUERIES.rest_name(
                connection, name_hash=self._hash_name(username), user_id=user_id, days=self._names.rest_days
            )


def _taken(username: str) -> UsernameTaken:
    return UsernameTaken(f"the username {username} is taken", username=username)


def _gone() -> AccountGone:
    return AccountGone("there is no account any more that this access token is for")
