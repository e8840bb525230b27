"""The HTTP API of profiles: what anybody may see of a person, and how people change it."""

import unicodedata
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from accounts.errors import AccountGone, UserNotFound
from accounts.parts import AccountsParts
from accounts.profiles import BIO_CHARACTERS_MAX, DISPLAY_NAME_CHARACTERS_MAX, ProfileView
from accounts.usernames import folded
from runtime.endpoints import endpoint
from runtime.ready import Ready
from runtime.tokens import Caller

# Browsers ask again each time, which is answered 304 from the cache; a CDN spares us the crowd for half a minute.
CACHE_CONTROL = "public, max-age=0, s-maxage=30, stale-while-revalidate=30"

_CONTROLLING = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_JOINERS = frozenset("\u200c\u200d\ufe0f")  # what emoji and some scripts are put together with
_MARKS_IN_A_ROW_MAX = 4


def _plain_line(text: str) -> str:
    """Text that stays within its line: nothing that turns the direction, hides, or piles up."""
    return _plain(text, frozenset())


def _plain_lines(text: str) -> str:
    return _plain(text.replace("\r\n", "\n"), frozenset("\n"))


def _plain(text: str, allowed: frozenset[str]) -> str:
    marks = 0
    for one in text:
        if one not in allowed and one not in _JOINERS and unicodedata.category(one) in _CONTROLLING:
            raise ValueError(f"must not contain the character U+{ord(one):04X}")
        marks = marks + 1 if unicodedata.combining(one) else 0
        if marks > _MARKS_IN_A_ROW_MAX:
            raise ValueError(f"must not have more than {_MARKS_IN_A_ROW_MAX} marks on one letter")
    if text and not text.strip().strip("".join(_JOINERS)):
        raise ValueError("must have something to see in it")
    return unicodedata.normalize("NFC", text)


class ProfileChange(BaseModel):
    """What is to be another; what is left out stays."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    display_name: (
        Annotated[
            str,
            StringConstraints(strip_whitespace=True, min_length=1, max_length=DISPLAY_NAME_CHARACTERS_MAX),
            AfterValidator(_plain_line),
        ]
        | None
    ) = Field(default=None, description="As one wants to be called; null: as the username is.")
    bio: Annotated[
        str, StringConstraints(strip_whitespace=True, max_length=BIO_CHARACTERS_MAX), AfterValidator(_plain_lines)
    ] = Field(default="", description="A few lines about oneself.")


class UserPath(BaseModel):
    """Whose profile."""

    model_config = ConfigDict(frozen=True)

    user_id: UUID


class UsernamePath(BaseModel):
    """Whose profile; a name that nobody can have is nobody's."""

    model_config = ConfigDict(frozen=True)

    username: str = Field(min_length=1, max_length=100)


class ProfilesApi:
    """Profiles."""

    tag = "accounts"

    def __init__(self, parts: AccountsParts) -> None:
        self._parts = parts

    @endpoint("GET", "/api/users/{user_id}/profile", headers={"Cache-Control": CACHE_CONTROL}, problems=(UserNotFound,))
    async def get_profile(self, path: UserPath) -> Ready[ProfileView]:
        """What anybody may see of a person."""
        return _ready(await self._parts.profiles.find(path.user_id))

    @endpoint(
        "GET", "/api/users/by-name/{username}", headers={"Cache-Control": CACHE_CONTROL}, problems=(UserNotFound,)
    )
    async def get_profile_by_name(self, path: UsernamePath) -> Ready[ProfileView]:
        """The same by username, in whatever case."""
        return _ready(await self._parts.profiles.find_by_name(folded(path.username)))

    @endpoint("PATCH", "/api/users/me/profile", problems=(AccountGone,))
    async def change_profile(self, caller: Caller, body: ProfileChange) -> ProfileView:
        """Change one's own profile; everybody sees it at once."""
        return await self._parts.profiles.change(
            caller.user_id,
            display_name=body.display_name,
            sets_display_name="display_name" in body.model_fields_set,
            bio=body.bio,
            sets_bio="bio" in body.model_fields_set,
        )


def _ready(content: bytes) -> Ready[ProfileView]:
    return Ready.of(ProfileView.model_validate_json(content))
