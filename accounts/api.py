"""The HTTP API of accounts: register, login, refresh, logout, who am I, and the public keys."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints

from accounts import metrics
from accounts.access_tokens import AccessTokens
from accounts.errors import BadCredentials, LoginsBusy, RefreshTokenInvalid, UsernameTaken
from accounts.keys import SigningKeys
from accounts.passwords import PASSWORD_CHARACTERS_MAX, PASSWORD_CHARACTERS_MIN, Passwords
from accounts.store import AccountStore, Login, User
from runtime.endpoints import endpoint
from runtime.tokens import Caller

Username = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]{3,30}$", to_lower=True)]
KEYS_CACHED_SECONDS = 300


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)


class RegisterBody(_Body):
    """Who wants an account."""

    username: Username = Field(description="3 to 30 of a–z, 0–9 and _; capitals are folded, so Ann and ann are one.")
    password: SecretStr = Field(min_length=PASSWORD_CHARACTERS_MIN, max_length=PASSWORD_CHARACTERS_MAX)


class LoginBody(_Body):
    """Who wants in. Names and passwords that cannot exist are wrong, not malformed."""

    username: str = Field(max_length=PASSWORD_CHARACTERS_MAX, pattern=r"^[^\u0000]*$")
    password: SecretStr = Field(max_length=PASSWORD_CHARACTERS_MAX)


class RefreshBody(_Body):
    """A refresh token as login or the last refresh gave it."""

    refresh_token: SecretStr = Field(min_length=1, max_length=PASSWORD_CHARACTERS_MAX)


class UserView(BaseModel):
    """A user. The id is also the id of their channel and of its chat room."""

    user_id: UUID
    username: str


class LoginView(BaseModel):
    """The two tokens: one for requests, one for the next two tokens."""

    access_token: str = Field(description="Send it as `Authorization: Bearer …`.")
    token_type: Literal["Bearer"]
    expires_in_seconds: int
    refresh_token: str = Field(description="Works once; the answer has the next one. Used twice it ends the session.")
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
    """The keys whose signatures count, the current one first."""

    keys: list[PublicKey]


class AccountsApi:
    """Everything under `/api/auth`, and the key set."""

    tag = "accounts"

    def __init__(self, store: AccountStore, passwords: Passwords, tokens: AccessTokens, keys: SigningKeys) -> None:
        self._store = store
        self._passwords = passwords
        self._tokens = tokens
        self._key_set = KeySet(keys=[PublicKey.model_validate(one) for one in keys.public])

    @endpoint("POST", "/api/auth/register", status=201, problems=(UsernameTaken, LoginsBusy))
    async def register(self, body: RegisterBody) -> UserView:
        """Make an account."""
        if await self._store.find_user(body.username) is not None:
            metrics.registrations.labels("taken").inc()
            raise UsernameTaken(f"the username {body.username} is taken", username=body.username)
        password_hash = await self._passwords.hash(body.password.get_secret_value())
        user = await self._store.add_user(body.username, password_hash)
        metrics.registrations.labels("registered").inc()
        return _user_view(user)

    @endpoint("POST", "/api/auth/login", problems=(BadCredentials, LoginsBusy))
    async def login(self, body: LoginBody) -> LoginView:
        """Begin a session."""
        password = body.password.get_secret_value()
        user, password_hash = await self._store.find_user(body.username.lower()) or (None, None)
        if not await self._passwords.check(password, password_hash) or user is None or password_hash is None:
            metrics.logins.labels("refused").inc()
            raise BadCredentials("no account has this username and password")
        if self._passwords.is_outdated(password_hash):
            await self._store.replace_password_hash(user, password_hash, await self._passwords.hash(password))
        metrics.logins.labels("accepted").inc()
        return self._login_view(await self._store.start_session(user))

    @endpoint("POST", "/api/auth/refresh", problems=(RefreshTokenInvalid,))
    async def refresh(self, body: RefreshBody) -> LoginView:
        """Get the next two tokens for a refresh token.

        A refresh token works once. When one is used a second time, its session is ended for everybody who holds one of
        its tokens, since one of them must have stolen it.
        """
        return self._login_view(await self._store.rotate(body.refresh_token.get_secret_value()))

    @endpoint("POST", "/api/auth/logout")
    async def logout(self, body: RefreshBody) -> None:
        """End the session of a refresh token; one that is not known (any more) is no error."""
        await self._store.end_session(body.refresh_token.get_secret_value())

    @endpoint("GET", "/api/auth/me")
    async def me(self, caller: Caller) -> UserView:
        """Who the access token is for."""
        return UserView(user_id=caller.user_id, username=caller.name)

    @endpoint("GET", "/.well-known/jwks.json", headers={"Cache-Control": f"public, max-age={KEYS_CACHED_SECONDS}"})
    async def key_set(self) -> KeySet:
        """The public keys that verify access tokens (JWK Set)."""
        return self._key_set

    def _login_view(self, login: Login) -> LoginView:
        return LoginView(
            access_token=self._tokens.issue(login.user.user_id, login.user.username),
            token_type="Bearer",  # noqa: S106  RFC 6749's word for how to send it, no secret
            expires_in_seconds=self._tokens.lifetime_seconds,
            refresh_token=login.refresh_token,
            user=_user_view(login.user),
        )


def _user_view(user: User) -> UserView:
    return UserView(user_id=user.user_id, username=user.username)
