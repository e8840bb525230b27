"""What anybody may see of a person: read through a cache that all processes share, and that forgets at once."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from accounts.errors import AccountGone, UserNotFound
from accounts.profile_cache import ProfileCache
from runtime.postgres import Pool, load_queries

QUERIES = load_queries("accounts")

DISPLAY_NAME_CHARACTERS_MAX = 50
BIO_CHARACTERS_MAX = 500


class ProfileView(BaseModel):
    """A person as anybody may see them."""

    user_id: UUID
    username: str
    display_name: str = Field(description="As they want to be called; the username, unless they said otherwise.")
    bio: str
    registered_at: datetime


class Profiles:
    """The profiles of all people."""

    def __init__(self, pool: Pool, cache: ProfileCache) -> None:
        self._pool = pool
        self._cache = cache

    async def find(self, user_id: UUID) -> bytes:
        """A profile as JSON. Raises UserNotFound."""

        async def load() -> bytes:
            return _json(await QUERIES.find_profile(self._pool, user_id=user_id))

        return await self._cache.get(_by_id(user_id), load)

    async def find_by_name(self, username: str) -> bytes:
        """The same by name, in lower case. Raises UserNotFound."""

        async def load() -> bytes:
            return _json(await QUERIES.find_profile_by_name(self._pool, username=username))

        return await self._cache.get(_by_name(username), load)

    async def change(
        self, user_id: UUID, *, display_name: str | None, sets_display_name: bool, bio: str, sets_bio: bool
    ) -> ProfileView:
        """Change what is to be set, and have every process forget what it was. Raises AccountGone."""
        username = await QUERIES.change_profile(
            self._pool,
            user_id=user_id,
            display_name=display_name,
            sets_display_name=sets_display_name,
            bio=bio,
            sets_bio=sets_bio,
        )
        if username is None:
            raise AccountGone("there is no account any more that this access token is for")
        await self.forget(user_id, [username])
        return ProfileView.model_validate_json(_json(await QUERIES.find_profile(self._pool, user_id=user_id)))

    async def forget(self, user_id: UUID, usernames: Iterable[str]) -> None:
        """A person changed, was renamed or has gone: nobody is told of before any more."""
        await self._cache.forget([_by_id(user_id), *(_by_name(name) for name in usernames)])


def _by_id(user_id: UUID) -> str:
    return f"id:{user_id}"


def _by_name(username: str) -> str:
    return f"name:{username}"


def _json(row: Mapping[str, Any] | None) -> bytes:
    if row is None:
        raise UserNotFound("nobody has this id or name")
    return ProfileView.model_validate(dict(row)).model_dump_json().encode()
