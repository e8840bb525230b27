"""IRC passwords over HTTP: everybody's own."""

from datetime import datetime
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from chat.irc.errors import IrcPasswordNotFound, TooManyIrcPasswords
from chat.irc.passwords import Passwords
from runtime.endpoints import endpoint
from runtime.pages import PageQuery, decode_cursor, encode_cursor
from runtime.tokens import Caller

NAME_CHARACTERS_MAX = 50

Name = Annotated[
    str,
    StringConstraints(min_length=1, max_length=NAME_CHARACTERS_MAX, strip_whitespace=True, pattern=r"^[^\x00]*$"),
]


class NewIrcPassword(BaseModel):
    """What it is for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name = Field(description="Your own words, such as the bot's name.")


class IrcPasswordPath(BaseModel):
    """Which password."""

    password_id: UUID


class IrcPasswordView(BaseModel):
    """A password, without itself."""

    password_id: UUID
    name: str
    created_at: datetime
    last_used_at: datetime | None = Field(description="To the minute; null: never.")


class CreatedIrcPasswordView(IrcPasswordView):
    """A new password."""

    password: str = Field(description="`PASS oauth:<this>`; it cannot be shown again.")


class IrcPasswordsView(BaseModel):
    """A page of one's passwords, the newest first."""

    items: list[IrcPasswordView]
    next_cursor: str | None = Field(description="For the next page; null: this is the last.")


class IrcPasswordsApi:
    """Passwords for bots and IRC clients."""

    tag: ClassVar[str] = "chat"

    def __init__(self, passwords: Passwords) -> None:
        self._passwords = passwords

    @endpoint("POST", "/api/chat/irc-passwords", problems=(TooManyIrcPasswords,), status=201)
    async def create_irc_password(self, caller: Caller, body: NewIrcPassword) -> CreatedIrcPasswordView:
        """Make a password for a bot or an IRC client. It is good until you delete it; the answer alone shows it."""
        made, text = await self._passwords.create(caller, body.name)
        return CreatedIrcPasswordView(
            password_id=made.password_id,
            name=made.name,
            created_at=made.created_at,
            last_used_at=None,
            password=text,
        )

    @endpoint("GET", "/api/chat/irc-passwords")
    async def list_irc_passwords(self, caller: Caller, query: PageQuery) -> IrcPasswordsView:
        """Your IRC passwords, the newest first."""
        before = decode_cursor(query.cursor, UUID)[0] if query.cursor else None
        found = await self._passwords.list_of(caller.user_id, before=before, items_max=query.limit + 1)
        shown = found[: query.limit]
        return IrcPasswordsView(
            items=[
                IrcPasswordView(
                    password_id=one.password_id,
                    name=one.name,
                    created_at=one.created_at,
                    last_used_at=one.last_used_at,
                )
                for one in shown
            ],
            next_cursor=encode_cursor(shown[-1].password_id) if len(found) > query.limit else None,
        )

    @endpoint("DELETE", "/api/chat/irc-passwords/{password_id}", problems=(IrcPasswordNotFound,))
    async def delete_irc_password(self, caller: Caller, path: IrcPasswordPath) -> None:
        """Delete an IRC password. Connections that came in by it end within about a second."""
        await self._passwords.delete(caller.user_id, path.password_id)
