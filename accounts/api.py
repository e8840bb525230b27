"""The HTTP API by which people come in: register, login, refresh, logout, and the public keys."""

from dataclasses import replace
from typing import Annotated, Literal

from aiohttp import web
from pydantic import BaseModel, Field, SecretStr

from accounts import metrics
from accounts.errors import (
    BadCredentials,
    GuessesRefused,
    LoginsBusy,
    RefreshTokenInvalid,
    TooManyAttempts,
    TotpCodeWrong,
    TotpRequired,
    UsernameTaken,
)
from accounts.parts import AccountsParts
from accounts.passwords import PASSWORD_CHARACTERS_MAX
from accounts.second_factor import can_be_guessed
from accounts.sessions import CLIENT_CHARACTERS_MAX, Login
from accounts.store import Account
from accounts.throttle import Place
from accounts.usernames import Username, folded
from accounts.words import AccountsBody, GivenCode, GivenPassword, NewPassword, UserView, revealed, user_view
from runtime.endpoints import endpoint
from runtime.limits import LOGINS

KEYS_CACHED_SECONDS = 300


class RegisterBody(AccountsBody):
    """Who wants an account."""

    username: Username = Field(
        description="3 to 30 of a–z, 0–9 and _; capitals are folded, so Ann and ann are one. Some words are reserved."
    )
    password: NewPassword


class LoginBody(AccountsBody):
    """Who wants in. Names and passwords that cannot exist are wrong, not malformed."""

    username: str = Field(max_length=PASSWORD_CHARACTERS_MAX, pattern=r"^[^\u0000]*$")
    password: GivenPassword
    totp_code: GivenCode | None = Field(
        default=None,
        description="When the second factor is on: the code of now, or a recovery code. Two codes that follow one "
        "another, sent as one, are taken also when so many single ones were wrong that others are refused.",
    )
    former_refresh_token: Annotated[SecretStr, Field(min_length=1, max_length=PASSWORD_CHARACTERS_MAX)] | None = Field(
        default=None,
        description="One that this device had for the account before, spent or not: failures elsewhere do not count "
        "here then. Nothing else is done with it.",
    )


class RefreshBody(AccountsBody):
    """A refresh token as login or the last refresh gave it."""

    refresh_token: Annotated[SecretStr, Field(min_length=1, max_length=PASSWORD_CHARACTERS_MAX)]


class LoginView(BaseModel):
    """The two tokens: one for requests, one for the next two tokens."""

    access_token: str = Field(description="Send it as `Authorization: Bearer …`.")
    token_type: Literal["Bearer"]
    expires_in_seconds: int
    refresh_token: str = Field(
        description="Works once; the answer has the next one. Used again 10 s later or more, it ends the session."
    )
    user: UserView


class PublicKey(BaseModel):
    """The public half of a signing key (RFC 7517, RFC 8037, RFC 9864)."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    x: str
    kid: str
    use: Literal["sig"]
    alg: Literal["Ed25519"]


class KeySet(BaseModel):
    """The keys whose signatures count, the current one first; the next one is there before it signs."""

    keys: list[PublicKey]


class AccountsApi:
    """Coming in and going out, and the key set."""

    tag = "accounts"

    def __init__(self, parts: AccountsParts) -> None:
        self._parts = parts

    @endpoint("POST", "/api/auth/register", status=201, problems=(UsernameTaken, LoginsBusy), limit=LOGINS)
    async def register(self, body: RegisterBody) -> UserView:
        """Make an account."""
        store = self._parts.store
        if await store.find_by_name(body.username) is not None:
            metrics.registrations.labels("taken").inc()
            raise UsernameTaken(f"the username {body.username} is taken", username=body.username)
        password_hash = await self._parts.passwords.hash(body.password.get_secret_value())
        user = await store.add_user(body.username, password_hash)
        metrics.registrations.labels("registered").inc()
        return user_view(user)

    @endpoint(
        "POST",
        "/api/auth/login",
        problems=(BadCredentials, TotpRequired, TotpCodeWrong, TooManyAttempts, LoginsBusy),
        limit=LOGINS,
    )
    async def login(self, body: LoginBody, request: web.Request) -> LoginView:
        """Begin a session.

        With a second factor the answer to the password alone is `totp-required`: send the same again with `totp_code`.
        """
        parts = self._parts
        address, name = parts.addresses.of(request), folded(body.username)
        account = await parts.store.find_by_name(name)
        user_id, code = account.user.user_id if account else None, revealed(body.totp_code)
        place = await parts.throttle.place(user_id, address, revealed(body.former_refresh_token))
        proven = await self._admitted(name, account, code, place)
        account = await self._checked(name, account, body.password.get_secret_value(), place)
        if account.has_totp and not proven:
            await parts.factor.check(account.user.user_id, code, place)
        await parts.throttle.login_succeeded(name, account.user.user_id, place, address)
        metrics.logins.labels("accepted").inc()
        client = _plain(request.headers.get("User-Agent", ""))
        return self._login_view(await parts.sessions.start(account, client=client))

    @endpoint("POST", "/api/auth/refresh", problems=(RefreshTokenInvalid,))
    async def refresh(self, body: RefreshBody) -> LoginView:
        """Get the next two tokens for a refresh token.

        A refresh token works once; for 10 s after that it is answered once more, for clients that lost the answer. When
        one is used later than that, its session is ended for everybody who holds one of its tokens, since one of them
        must have stolen it.
        """
        return self._login_view(await self._parts.sessions.rotate(body.refresh_token.get_secret_value()))

    @endpoint("POST", "/api/auth/logout")
    async def logout(self, body: RefreshBody) -> None:
        """End the session of a refresh token; one that is not known (any more) is no error."""
        await self._parts.sessions.end(body.refresh_token.get_secret_value())

    @endpoint(
        "GET",
        "/.well-known/jwks.json",
        headers={"Cache-Control": f"public, max-age={KEYS_CACHED_SECONDS}"},
        limit=None,
    )
    async def key_set(self) -> KeySet:
        """The public keys that verify access tokens (JWK Set)."""
        return KeySet(keys=[PublicKey.model_validate(one) for one in self._parts.ring.public])

    async def _admitted(self, name: str, account: Account | None, code: str | None, place: Place) -> bool:
        """Let a password be looked at; whether the second factor was shown for it already.

        That is asked for first where strangers have used up what all new places have. Raises TooManyAttempts.
        """
        try:
            await self._parts.throttle.count_login(name, place)
        except GuessesRefused as refused:
            if account is None or not account.has_totp or code is None or can_be_guessed(code):
                raise
            try:
                await self._parts.factor.check(account.user.user_id, code, place)
            except (TotpCodeWrong, TooManyAttempts):
                raise refused from None  # nothing is said of a code, or of there being any, without the password
            return True
        return False

    async def _checked(self, name: str, account: Account | None, password: str, place: Place) -> Account:
        """The account of a name and a password; a name that nobody has costs the same work."""
        parts = self._parts
        try:
            matches = await parts.passwords.check(password, account.password_hash if account else None)
        except LoginsBusy:
            await parts.throttle.login_not_wrong(name, place)
            raise
        if account is None or not matches:
            metrics.logins.labels("refused").inc()
            raise BadCredentials("no account has this username and password")
        await parts.throttle.login_not_wrong(name, place)
        if parts.passwords.is_outdated(account.password_hash):
            return await self._rehashed(account, password)
        return account

    async def _rehashed(self, account: Account, password: str) -> Account:
        """The account, its password hashed with today's parameters."""
        store, passwords = self._parts.store, self._parts.passwords
        new_hash = await passwords.hash(password)
        if await store.replace_password_hash(account.user.user_id, account.password_hash, new_hash):
            return replace(account, password_hash=new_hash)
        # Another login has done so, or the password was changed.
        found = await store.find_by_name(account.user.username)
        if found is None or not await passwords.check(password, found.password_hash):
            raise BadCredentials("no account has this username and password")
        return found

    def _login_view(self, login: Login) -> LoginView:
        return LoginView(
            access_token=self._parts.tokens.issue(login.user, login.session_id),
            token_type="Bearer",  # noqa: S106  RFC 6749's word for how to send it, no secret
            expires_in_seconds=self._parts.tokens.lifetime_seconds,
            refresh_token=login.refresh_token,
            user=user_view(login.user),
        )


def _plain(client: str) -> str:
    """What a client calls itself may be any bytes."""
    return "".join(one if " " <= one <= "~" else "?" for one in client[:CLIENT_CHARACTERS_MAX])
