"""The HTTP API of one's own account: who am I, sessions, password, name, and its end."""

from datetime import datetime
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from accounts.errors import (
    AccountGone,
    LoginsBusy,
    PasswordWrong,
    RenamedLately,
    SessionNotFound,
    TooManyAttempts,
    TotpCodeWrong,
    TotpRequired,
    UsernameTaken,
)
from accounts.parts import AccountsParts
from accounts.sessions import SESSIONS_PER_USER_MAX
from accounts.store import Account
from accounts.usernames import Username
from accounts.words import ConfirmedBody, NewPassword, PasswordBody, UserView, revealed, user_view
from runtime.endpoints import endpoint
from runtime.limits import LOGINS
from runtime.tokens import Caller

CONFIRMING = (AccountGone, PasswordWrong, TooManyAttempts, LoginsBusy)
CONFIRMING_BY_CODE = (*CONFIRMING, TotpRequired, TotpCodeWrong)


class ChangePasswordBody(ConfirmedBody):
    """The password of until now, and the one of from now on."""

    new_password: NewPassword


class RenameBody(PasswordBody):
    """The name of from now on."""

    username: Username


class SessionPath(BaseModel):
    """Which session."""

    model_config = ConfigDict(frozen=True)

    session_id: UUID


class OwnView(UserView):
    """A user as only they see it."""

    is_operator: bool = Field(description="Whether they run this installation; known to other services at the login.")
    totp: bool = Field(description="Whether the second factor is on.")
    registered_at: datetime


class SessionView(BaseModel):
    """A login that goes on."""

    session_id: UUID
    started_at: datetime
    used_at: datetime = Field(description="When it last got new tokens.")
    expires_at: datetime = Field(description="When it ends if it is not used until then.")
    client: str = Field(description="What the client called itself at the login (User-Agent).")
    current: bool = Field(description="Whether the access token of this request is of it.")


class SessionsView(BaseModel):
    """The logins that go on, the newest first."""

    sessions: list[SessionView] = Field(max_length=SESSIONS_PER_USER_MAX)


class OwnAccountApi:
    """What people do with their own accounts."""

    tag = "accounts"

    def __init__(self, parts: AccountsParts) -> None:
        self._parts = parts

    @endpoint("GET", "/api/auth/me", problems=(AccountGone,))
    async def me(self, caller: Caller) -> OwnView:
        """Who the access token is for, as of now."""
        account, registered_at = await self._parts.store.find(caller.user_id)
        return OwnView(
            user_id=account.user.user_id,
            username=account.user.username,
            is_operator=account.user.is_operator,
            totp=account.has_totp,
            registered_at=registered_at,
        )

    @endpoint("DELETE", "/api/auth/me", limit=LOGINS, problems=CONFIRMING_BY_CODE)
    async def delete_account(self, caller: Caller, body: ConfirmedBody, request: web.Request) -> None:
        """Delete one's account for good, and what is one's own in every service.

        Sessions end at once; an access token that is out already is believed until it expires, ten minutes at most.
        Nobody else can take the name for a while.
        """
        await self._delete(caller, body, request)

    @endpoint("DELETE", "/api/users/me", limit=LOGINS, problems=CONFIRMING_BY_CODE)
    async def delete_me(self, caller: Caller, body: ConfirmedBody, request: web.Request) -> None:
        """Delete one's account for good: the same as `DELETE /api/auth/me`."""
        await self._delete(caller, body, request)

    @endpoint("GET", "/api/auth/sessions")
    async def list_sessions(self, caller: Caller) -> SessionsView:
        """One's own logins that go on."""
        found = await self._parts.sessions.of(caller.user_id)
        return SessionsView(
            sessions=[
                SessionView(
                    session_id=one.session_id,
                    started_at=one.started_at,
                    used_at=one.used_at,
                    expires_at=one.expires_at,
                    client=one.client,
                    current=one.session_id == caller.session_id,
                )
                for one in found
            ]
        )

    @endpoint("DELETE", "/api/auth/sessions/{session_id}", problems=(SessionNotFound,))
    async def end_session(self, caller: Caller, path: SessionPath) -> None:
        """End one of one's own logins; its access token lives on for ten minutes at most."""
        await self._parts.sessions.end_one(caller.user_id, path.session_id)

    @endpoint("POST", "/api/auth/logout-everywhere")
    async def logout_everywhere(self, caller: Caller) -> None:
        """End all of one's own logins, this one as well."""
        await self._parts.sessions.end_all(caller.user_id)

    @endpoint("PUT", "/api/auth/password", limit=LOGINS, problems=CONFIRMING_BY_CODE)
    async def change_password(self, caller: Caller, body: ChangePasswordBody, request: web.Request) -> None:
        """Change one's password. All other logins end; this one goes on."""
        parts = self._parts
        account = await confirmed(parts, caller, body, request)
        new_hash = await parts.passwords.hash(body.new_password.get_secret_value())
        await parts.store.change_password(account, new_hash, keep_session=caller.session_id)
        await parts.throttle.remember(caller.user_id, parts.addresses.of(request))

    @endpoint("PUT", "/api/auth/username", limit=LOGINS, problems=(*CONFIRMING, UsernameTaken, RenamedLately))
    async def rename(self, caller: Caller, body: RenameBody) -> UserView:
        """Change one's username; again after some weeks only.

        Nobody else can take the old one for a while. Access tokens have the new name from the next refresh on.
        """
        await self._parts.confirmation.by_password(caller, body.password.get_secret_value())
        user, before = await self._parts.store.rename(caller.user_id, body.username)
        await self._parts.profiles.forget(user.user_id, {before, user.username})
        return user_view(user)

    async def _delete(self, caller: Caller, body: ConfirmedBody, request: web.Request) -> None:
        account = await confirmed(self._parts, caller, body, request)
        name = await self._parts.store.delete(account)
        await self._parts.profiles.forget(account.user.user_id, [name])


async def confirmed(parts: AccountsParts, caller: Caller, body: ConfirmedBody, request: web.Request) -> Account:
    """The account of who has shown password and code again; raises the problems of `CONFIRMING_BY_CODE`."""
    return await parts.confirmation.by_password_and_code(
        caller, body.password.get_secret_value(), revealed(body.totp_code), parts.addresses.of(request)
    )
