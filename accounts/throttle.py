"""How often one account may be tried, from however many addresses; strangers never keep its owner out for long.

In Postgres, which a login needs anyway: exact over processes, and there when Redis is not. Attempts are counted before
the password is looked at, for names that nobody has as well, so that neither a race nor the answer tells anything.
Addresses that an account was logged in from lately are not held up: only its own limit per address counts there. A
window begins with its first attempt and is not made longer by those that are refused; a login that succeeds ends it.
"""

import math
from uuid import UUID

from accounts import metrics
from accounts.errors import TooManyAttempts
from accounts.sealing import KeyedHash
from runtime.postgres import Pool, load_queries

QUERIES = load_queries("accounts")

WINDOW_SECONDS = 900.0
PASSWORDS_MAX = 20
CODES_MAX = 5
"""Only who knows the password gets so far; of the 10^6 codes three are right at a time."""
KNOWN_ADDRESS_DAYS = 60


class Throttle:
    """Counts attempts at accounts."""

    def __init__(self, pool: Pool, secret: bytes) -> None:
        self._pool = pool
        self._hash_target = KeyedHash(secret, "attempts")
        self._hash_address = KeyedHash(secret, "addresses")

    async def count_login(self, username: str, user_id: UUID | None, address: str) -> None:
        """Count a password that is about to be checked. Raises TooManyAttempts."""
        # Asked for nobody, too: an unknown name costs the same statements.
        known = await QUERIES.is_known_address(
            self._pool, user_id=user_id or UUID(int=0), address_hash=self._hash_address(address)
        )
        await self._count("password", f"login:{username}", PASSWORDS_MAX, lenient=known)

    async def login_not_checked(self, username: str) -> None:
        """Nobody had the time to check the password: it was no attempt."""
        await QUERIES.take_back_attempt(self._pool, target=self._hash_target(f"login:{username}"))

    async def login_succeeded(self, username: str, user_id: UUID, address: str) -> None:
        """The owner was there: begin anew, and know where from."""
        await QUERIES.forget_attempts(self._pool, target=self._hash_target(f"login:{username}"))
        await QUERIES.remember_address(self._pool, user_id=user_id, address_hash=self._hash_address(address))

    async def count_password(self, user_id: UUID) -> None:
        """Count a password that somebody with an access token has to repeat. Raises TooManyAttempts."""
        await self._count("password", f"repeat:{user_id}", PASSWORDS_MAX)

    async def forget_passwords(self, user_id: UUID) -> None:
        """It was right."""
        await QUERIES.forget_attempts(self._pool, target=self._hash_target(f"repeat:{user_id}"))

    async def count_code(self, user_id: UUID) -> None:
        """Count a code of the second factor that is about to be checked. Raises TooManyAttempts."""
        await self._count("code", f"code:{user_id}", CODES_MAX)

    async def forget_codes(self, user_id: UUID) -> None:
        """It was right."""
        await QUERIES.forget_attempts(self._pool, target=self._hash_target(f"code:{user_id}"))

    async def _count(self, kind: str, target: str, attempts_max: int, *, lenient: bool = False) -> None:
        row = await QUERIES.count_attempt(self._pool, target=self._hash_target(target), window_seconds=WINDOW_SECONDS)
        if row["attempts"] > attempts_max and not lenient:
            metrics.attempts_refused.labels(kind).inc()
            raise TooManyAttempts(
                "too many attempts at this account; try again later",
                retry_after_seconds=max(1, math.ceil(row["ends_in_seconds"])),
            )
