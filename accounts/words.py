"""The bodies and views that several APIs of accounts have, and the limits of their fields."""

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from accounts.passwords import PASSWORD_CHARACTERS_MAX, PASSWORD_CHARACTERS_MIN
from accounts.store import User

CODE_CHARACTERS_MAX = 32

NewPassword = Annotated[SecretStr, Field(min_length=PASSWORD_CHARACTERS_MIN, max_length=PASSWORD_CHARACTERS_MAX)]
GivenPassword = Annotated[SecretStr, Field(max_length=PASSWORD_CHARACTERS_MAX)]
"""Of any form: one that cannot exist is wrong, not malformed."""
GivenCode = Annotated[SecretStr, Field(min_length=1, max_length=CODE_CHARACTERS_MAX)]


class AccountsBody(BaseModel):
    """A body whose fields are never repeated in a refusal."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)


class PasswordBody(AccountsBody):
    """The present password, once more."""

    password: GivenPassword


class ConfirmedBody(PasswordBody):
    """The present password once more, and the code of the second factor, if that is on."""

    totp_code: GivenCode | None = Field(
        default=None, description="A code of now, two that follow one another, or a recovery code."
    )


class UserView(BaseModel):
    """A user. The id is also the id of their channel and of its chat room."""

    user_id: UUID
    username: str


def user_view(user: User) -> UserView:
    """A user as the API tells of one."""
    return UserView(user_id=user.user_id, username=user.username)


def revealed(secret: SecretStr | None) -> str | None:
    """What was sent, if anything was."""
    return None if secret is None else secret.get_secret_value()
