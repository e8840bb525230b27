"""The second factor on a real database: codes work once, guessing ends soon, paper helps who lost the device."""

import base64
import time
from collections.abc import Awaitable, Callable

from accounts.throttle import CODES_MAX, PASSWORDS_MAX
from accounts.totp_codes import STEP_SECONDS, code_at
from tests.contract.held_client import Answer
from tests.integration.accounts.conftest import PASSWORD, Accounts

CONFIRMED = {"password": PASSWORD}


class Device:
    """An authenticator app: each code is of a later step than the one before, as a replayed one is refused."""

    def __init__(self, secret: str) -> None:
        self._secret = base64.b32decode(secret)
        self._step = int(time.time()) // STEP_SECONDS - 1

    def code(self) -> str:
        """The next code of the three that are taken now."""
        code = code_at(self._secret, self._step)
        self._step += 1
        return code


async def _switched_on(accounts: Accounts, token: str) -> tuple[Device, list[str]]:
    enrolled = await accounts.client.post("/api/auth/totp", json=CONFIRMED, token=token)
    assert enrolled.status == 201
    device = Device(enrolled.body["secret"])
    confirmed = await accounts.client.post("/api/auth/totp/confirm", json={"code": device.code()}, token=token)
    assert confirmed.status == 200, confirmed.body
    return device, confirmed.body["recovery_codes"]


async def test_a_second_factor_from_its_beginning_to_its_end(accounts: Accounts) -> None:
    token = await accounts.token()
    post, delete = accounts.client.post, accounts.client.delete
    unenrolled = await post("/api/auth/totp/confirm", json={"code": "123456"}, token=token)
    assert unenrolled.problem == "totp-not-on"
    assert (await post("/api/auth/totp", json={"password": "wrong"}, token=token)).problem == "password-wrong"
    assert (await post("/api/auth/totp", json=CONFIRMED, token=token)).status == 201
    await accounts.login()  # not confirmed: not asked for
    device, recovery = await _switched_on(accounts, token)
    assert (await post("/api/auth/totp", json=CONFIRMED, token=token)).problem == "totp-already-on"
    assert (await accounts.client.get("/api/auth/me", token=token)).body["totp"] is True

    assert (await accounts.try_login(password="wrong horse")).problem == "bad-credentials", "nothing of codes yet"
    asked = await accounts.try_login()
    assert (asked.status, asked.problem) == (403, "totp-required")
    code = device.code()
    await accounts.login(totp_code=code)
    replayed = await accounts.try_login(totp_code=code)
    assert (replayed.status, replayed.problem) == (403, "totp-code-wrong")
    await accounts.login(totp_code=recovery[0].upper())
    assert (await accounts.try_login(totp_code=recovery[0])).problem == "totp-code-wrong", "paper works once, too"

    renewed = await post("/api/auth/totp/recovery-codes", json={**CONFIRMED, "totp_code": recovery[1]}, token=token)
    assert len(renewed.body["recovery_codes"]) == 10
    assert (await accounts.try_login(totp_code=recovery[2])).problem == "totp-code-wrong"
    assert (await delete("/api/auth/totp", json=CONFIRMED, token=token)).problem == "totp-required"
    assert (await delete("/api/auth/totp", json={**CONFIRMED, "totp_code": device.code()}, token=token)).status == 204
    await accounts.login()
    gone = await delete("/api/auth/totp", json=CONFIRMED, token=token)
    assert gone.problem == "totp-not-on"


async def test_nothing_of_it_is_readable_in_the_database(accounts: Accounts) -> None:
    token = await accounts.token()
    enrolled = await accounts.client.post("/api/auth/totp", json=CONFIRMED, token=token)
    secret = base64.b32decode(enrolled.body["secret"])
    rows = str(await accounts.pool.fetch("SELECT totp::text FROM totp"))
    assert enrolled.body["secret"] not in rows
    assert secret.hex() not in rows


async def _until_refused(attempt: Callable[[], Awaitable[Answer]], attempts_max: int) -> Answer:
    for _ in range(attempts_max):
        answer = await attempt()
        assert answer.status in (401, 403), answer.body
    return await attempt()


async def test_guessing_ends_and_the_owner_is_not_kept_out(accounts: Accounts) -> None:
    token = await accounts.token()
    _, recovery = await _switched_on(accounts, token)
    # Codes: who gets here knows the password, so even the owner's address waits.
    refused = await _until_refused(lambda: accounts.try_login(totp_code="000000"), CODES_MAX)
    assert (refused.status, refused.problem) == (429, "too-many-attempts")
    assert 0 < int(refused.headers["Retry-After"]) <= 900
    assert (await accounts.try_login(totp_code=recovery[0])).status == 429, "a right one, too"
    await accounts.pool.execute("UPDATE attempts SET began_at = began_at - interval '15 minutes'")
    await accounts.login(totp_code=recovery[0])

    # Passwords, from anywhere: strangers are refused, for names that nobody has as well; the owner's address is not.
    await accounts.register("bob")
    await accounts.login("bob")
    assert await accounts.pool.fetchval("SELECT count(*) FROM known_addresses") == 2
    for name in ("bob", "nobody_has_it"):

        async def attempt(name: str = name) -> Answer:
            headers = {"X-Forwarded-For": "203.0.113.9"}
            body = {"username": name, "password": "wrong horse"}
            return await accounts.client.post("/api/auth/login", json=body, headers=headers)

        assert (await attempt()).status == 401
        await accounts.pool.execute("UPDATE attempts SET attempts = $1", PASSWORDS_MAX - 1)
        refused = await _until_refused(attempt, 1)
        assert (refused.status, refused.problem) == (429, "too-many-attempts"), name
    await accounts.pool.execute("UPDATE attempts SET attempts = $1", PASSWORDS_MAX + 5)
    await accounts.login("bob")
    assert (await attempt()).status == 429
