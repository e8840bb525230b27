"""How often one account may be tried: nobody's failures keep its owner out, and guessing from many addresses is vain.

What counts are wrong attempts: each is counted before it is looked at, so that no race helps, and taken back when it
was right. In Postgres, which a login needs anyway: exact over processes, and there when Redis is not; for names that
nobody has as well, so that the answer tells nothing. A window begins with its first attempt and is not made longer by
those that are refused.

Each place has a count of its own: an address, or a session whose refresh token was shown, so that a device is known on
whatever network. At a place where the account was logged in lately (60 days; by both factors, where there are two)
nothing that happens elsewhere counts. All places where it never was share one more count, else many addresses would be
many chances. Where that is used up, proof that nobody guesses is taken in spite of it: two codes of the app that follow
one another, or a recovery code. docs/decisions/0107 has the arithmetic.
"""

import hashlib
import math
from dataclasses import dataclass
from uuid import UUID

from accounts import metrics
from accounts.errors import GuessesRefused, TooManyAttempts
from accounts.sealing import KeyedHash
from runtime.postgres import Pool, load_queries

QUERIES = load_queries("accounts")

WINDOW_SECONDS = 900
PASSWORDS_MAX = 20
"""A window: at a place where the account was logged in; and at all others together."""
PASSWORDS_AT_NEW_PLACE_MAX = 5
"""A window: no single address uses up what all of them share."""
CODES_MAX = 5
"""A window, of any form, at each place. Only who knows the password gets so far."""
SINGLE_CODES_A_DAY_MAX = 10
"""At a place where the account was logged in, and at all others together; of 10^6 codes three are right at a time."""
DAY_SECONDS = 86_400
KNOWN_ADDRESS_DAYS = 60


@dataclass(frozen=True, slots=True)
class Place:
    """Where an attempt at an account comes from, and whether the account was logged in there lately."""

    name: str
    known: bool


@dataclass(frozen=True, slots=True)
class _Budget:
    target: str
    attempts_max: int
    lasts_seconds: int = WINDOW_SECONDS
    guards_guesses: bool = False
    """Who proves more than a guess can is let through when it is used up."""


class Throttle:
    """Counts attempts at accounts."""

    def __init__(self, pool: Pool, secret: bytes) -> None:
        self._pool = pool
        self._hash_target = KeyedHash(secret, "attempts")
        self._hash_address = KeyedHash(secret, "addresses")

    async def place(self, user_id: UUID | None, address: str, former_token: str | None = None) -> Place:
        """The place of an attempt at a person's account, or at nobody's; `former_token` is one of its refresh tokens.

        The token may be spent and its session over: it shows who was here, and nothing is done with it.
        """
        whom = user_id or UUID(int=0)  # asked for nobody, too: an unknown name costs the same statements
        if former_token is not None:
            token_hash = hashlib.sha256(former_token.encode()).digest()
            session_id = await QUERIES.find_session_once_had(self._pool, user_id=whom, token_hash=token_hash)
            if session_id is not None:
                return Place(f"session {session_id}", known=True)
        known = await QUERIES.is_known_address(self._pool, user_id=whom, address_hash=self._hash_address(address))
        return Place(f"address {address}", known)

    async def count_login(self, username: str, place: Place) -> None:
        """Count a password that is about to be checked. Raises TooManyAttempts, and GuessesRefused."""
        for budget in _login_budgets(username, place):
            await self._count("password", budget)

    async def login_not_wrong(self, username: str, place: Place) -> None:
        """The password was right, or nobody had the time to look at it: it was no attempt."""
        for budget in _login_budgets(username, place):
            await self._take_back(budget)

    async def login_succeeded(self, username: str, user_id: UUID, place: Place, address: str) -> None:
        """The owner was there, with all that is asked for: begin anew there, and know where from."""
        await self._forget(_login_budgets(username, place)[0])
        await self.remember(user_id, address)

    async def remember(self, user_id: UUID, address: str) -> None:
        """Know an address from now on: the owner was there, with all that is asked for."""
        await QUERIES.remember_address(self._pool, user_id=user_id, address_hash=self._hash_address(address))

    async def count_password(self, user_id: UUID, session_id: UUID | None) -> None:
        """Count a password that somebody with an access token has to repeat. Raises TooManyAttempts."""
        await self._count("password", _repeat_budget(user_id, session_id))

    async def forget_passwords(self, user_id: UUID, session_id: UUID | None) -> None:
        """It was right."""
        await self._forget(_repeat_budget(user_id, session_id))

    async def count_code(self, user_id: UUID, place: Place, *, single: bool) -> None:
        """Count a code of the second factor that is about to be checked. Raises TooManyAttempts, and GuessesRefused.

        `single`: it is one code of the app, which can be guessed.
        """
        for budget in _code_budgets(user_id, place, single=single):
            await self._count("code", budget)

    async def code_right(self, user_id: UUID, place: Place, *, single: bool) -> None:
        """It was right."""
        own, *shared = _code_budgets(user_id, place, single=single)
        await self._forget(own)
        for budget in shared:
            await self._take_back(budget)

    async def _count(self, kind: str, budget: _Budget) -> None:
        row = await QUERIES.count_attempt(
            self._pool, target=self._hash_target(budget.target), window_seconds=budget.lasts_seconds
        )
        if row["attempts"] > budget.attempts_max:
            metrics.attempts_refused.labels(kind).inc()
            seconds = max(1, math.ceil(row["ends_in_seconds"]))
            if budget.guards_guesses:
                raise GuessesRefused(
                    "too many wrong attempts at this account; send as `totp_code` two codes of the app that follow one"
                    " another, or a recovery code, or log in from where you were before",
                    retry_after_seconds=seconds,
                )
            raise TooManyAttempts("too many attempts at this account; try again later", retry_after_seconds=seconds)

    async def _take_back(self, budget: _Budget) -> None:
        await QUERIES.take_back_attempt(self._pool, target=self._hash_target(budget.target))

    async def _forget(self, budget: _Budget) -> None:
        await QUERIES.forget_attempts(self._pool, target=self._hash_target(budget.target))


def _login_budgets(username: str, place: Place) -> list[_Budget]:
    """That of the place itself, and the one that it shares."""
    target = f"login:{username}"
    if place.known:
        return [_Budget(f"{target}:{place.name}", PASSWORDS_MAX)]
    return [
        _Budget(f"{target}:{place.name}", PASSWORDS_AT_NEW_PLACE_MAX),
        _Budget(target, PASSWORDS_MAX, guards_guesses=True),
    ]


def _code_budgets(user_id: UUID, place: Place, *, single: bool) -> list[_Budget]:
    """That of the place itself, and that of codes which can be guessed."""
    target = f"code:{user_id}"
    own = _Budget(f"{target}:{place.name}", CODES_MAX)
    day = f"{target}:a day at {place.name}" if place.known else f"{target}:a day elsewhere"
    return [own, _Budget(day, SINGLE_CODES_A_DAY_MAX, DAY_SECONDS, guards_guesses=True)] if single else [own]


def _repeat_budget(user_id: UUID, session_id: UUID | None) -> _Budget:
    """Of each session its own: who has stolen a token of one keeps its owner from nothing in another."""
    return _Budget(f"repeat:{user_id}:{session_id}", PASSWORDS_MAX)
