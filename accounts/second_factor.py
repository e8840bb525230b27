"""The second factor of a person: enrolled, confirmed by a code, asked for at login, switched off."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

import structlog

from accounts.errors import TotpAlreadyOn, TotpCodeWrong, TotpNotOn, TotpRequired
from accounts.sealing import seal, unseal
from accounts.throttle import Place, Throttle
from accounts.totp_codes import (
    base32,
    is_totp_code,
    new_recovery_codes,
    new_secret,
    otpauth_uri,
    pair_of,
    recovery_hash,
    step_of,
    step_of_pair,
)
from runtime.postgres import Connection, Pool, load_queries

log = structlog.get_logger(__name__)
QUERIES = load_queries("accounts")


@dataclass(frozen=True)
class Enrolment:
    """What an authenticator app needs; shown this once."""

    secret: str
    uri: str


class SecondFactor:
    """TOTP of all people. `now` is Unix time; tests bring their own."""

    def __init__(
        self, pool: Pool, secret: bytes, throttle: Throttle, *, issuer: str, now: Callable[[], float] = time.time
    ) -> None:
        self._pool = pool
        self._secret = secret
        self._throttle = throttle
        self._issuer = issuer
        self._now = now

    async def enrol(self, user_id: UUID, username: str) -> Enrolment:
        """A new secret, which counts when it is confirmed. Raises TotpAlreadyOn."""
        secret = new_secret()
        sealed = seal(secret, self._secret, _owner(user_id))
        if not await QUERIES.enrol_totp(self._pool, user_id=user_id, secret_sealed=sealed):
            raise TotpAlreadyOn("switch it off first")
        return Enrolment(base32(secret), otpauth_uri(secret, issuer=self._issuer, username=username))

    async def confirm(self, user_id: UUID, code: str, place: Place) -> list[str]:
        """Switch it on with the first code; the recovery codes.

        From where the password alone let somebody in, that is known no more. Raises TotpNotOn, TotpAlreadyOn,
        TotpCodeWrong, TooManyAttempts.
        """
        row = await QUERIES.find_totp(self._pool, user_id=user_id)
        if row is None:
            raise TotpNotOn("enrol first")
        if row["confirmed"]:
            raise TotpAlreadyOn("it is confirmed")
        await self._throttle.count_code(user_id, place, single=False)  # whoever enrolled knows the secret
        step = step_of(self._unsealed(row["secret_sealed"], user_id), code, self._now())
        if step is None:
            raise TotpCodeWrong("this is not a code of now: is the clock of the device right?")
        async with self._pool.acquire() as connection, connection.transaction():
            if not await QUERIES.confirm_totp(connection, user_id=user_id, secret_sealed=row["secret_sealed"]):
                raise TotpAlreadyOn("it was confirmed a moment ago")
            await QUERIES.spend_totp_step(connection, user_id=user_id, step=step)
            await QUERIES.forget_addresses(connection, user_id=user_id)
            codes = await _replace_codes(connection, user_id)
        await self._throttle.code_right(user_id, place, single=False)
        log.info("totp_switched_on", user_id=str(user_id))
        return codes

    async def check(self, user_id: UUID, code: str | None, place: Place) -> None:
        """Take a code, two that follow one another, or a recovery code, once.

        Raises TotpRequired, TotpCodeWrong, TooManyAttempts, and GuessesRefused for single codes.
        """
        if code is None:
            raise TotpRequired("send `totp_code`: the code that the app shows, or a recovery code")
        single = can_be_guessed(code)
        await self._throttle.count_code(user_id, place, single=single)
        if not await self._take(user_id, code):
            raise TotpCodeWrong("it is no code of now, or was used before")
        await self._throttle.code_right(user_id, place, single=single)

    async def new_recovery_codes(self, user_id: UUID) -> list[str]:
        """Replace the recovery codes."""
        async with self._pool.acquire() as connection, connection.transaction():
            return await _replace_codes(connection, user_id)

    async def switch_off(self, user_id: UUID) -> None:
        """Do without it."""
        async with self._pool.acquire() as connection, connection.transaction():
            await QUERIES.delete_totp(connection, user_id=user_id)
            await QUERIES.delete_recovery_codes(connection, user_id=user_id)
        log.info("totp_switched_off", user_id=str(user_id))

    async def _take(self, user_id: UUID, code: str) -> bool:
        if is_totp_code(code) or pair_of(code):
            return await self._take_codes(user_id, code)
        return await self._take_recovery_code(user_id, code)

    async def _take_codes(self, user_id: UUID, code: str) -> bool:
        """One code, or two, of which neither was taken before."""
        row = await QUERIES.find_totp(self._pool, user_id=user_id)
        if row is None or not row["confirmed"]:
            return False
        secret = self._unsealed(row["secret_sealed"], user_id)
        if is_totp_code(code):
            step = step_of(secret, code, self._now())
            return step is not None and await self._spend(user_id, step)
        step = step_of_pair(secret, code, self._now())
        return step is not None and await self._spend(user_id, step - 1) and await self._spend(user_id, step)

    async def _spend(self, user_id: UUID, step: int) -> bool:
        return bool(await QUERIES.spend_totp_step(self._pool, user_id=user_id, step=step))

    async def _take_recovery_code(self, user_id: UUID, code: str) -> bool:
        spent: int = await QUERIES.spend_recovery_code(self._pool, user_id=user_id, code_hash=recovery_hash(code))
        if spent:
            left = await QUERIES.count_recovery_codes(self._pool, user_id=user_id)
            log.info("recovery_code_used", user_id=str(user_id), codes_left=left)
        return spent > 0

    def _unsealed(self, sealed: str, user_id: UUID) -> bytes:
        return unseal(sealed, self._secret, _owner(user_id))


def can_be_guessed(code: str) -> bool:
    """Whether it is a single code of the app: the others have 40 bits and more."""
    return is_totp_code(code)


async def _replace_codes(connection: Connection, user_id: UUID) -> list[str]:
    codes = new_recovery_codes()
    await QUERIES.delete_recovery_codes(connection, user_id=user_id)
    await QUERIES.add_recovery_codes(connection, user_id=user_id, code_hashes=[recovery_hash(one) for one in codes])
    return codes


def _owner(user_id: UUID) -> str:
    return f"totp:{user_id}"
