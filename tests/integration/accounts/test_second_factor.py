"""The second factor on a real database: codes work once, guessing ends soon, paper helps who lost the device."""

import base64
from typing import Any
from uuid import UUID

import pytest

from accounts.errors import GuessesRefused, TooManyAttempts
from accounts.expiry import Expiry
from accounts.throttle import (
    CODES_MAX,
    DAY_SECONDS,
    PASSWORDS_AT_NEW_PLACE_MAX,
    PASSWORDS_MAX,
    SINGLE_CODES_A_DAY_MAX,
    Place,
)
from accounts.totp_codes import STEP_SECONDS, code_at
from tests.contract.held_client import Answer
from tests.integration.accounts.conftest import CODES_AT, PASSWORD, Accounts

CONFIRMED = {"password": PASSWORD}


class Device:
    """An authenticator app: each code is of a later step than the one before, as a replayed one is refused."""

    def __init__(self, secret: str) -> None:
        self._secret = base64.b32decode(secret)
        self._step = int(CODES_AT) // STEP_SECONDS - 1

    def code(self) -> str:
        """The next code of the three that are taken now."""
        code = code_at(self._secret, self._step)
        self._step += 1
        return code

    async def rewind(self, accounts: Accounts) -> None:
        """Let the codes of now be as if none had been used."""
        self._step = int(CODES_AT) // STEP_SECONDS - 1
        await accounts.pool.execute("UPDATE totp SET last_step = 0")


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


async def _login_from(accounts: Accounts, host: int, name: str, password: str = PASSWORD, **rest: str) -> Answer:
    """What a login from some address far away is answered."""
    body = {"username": name, "password": password, **rest}
    headers = {"X-Forwarded-For": f"203.0.113.{host}"}
    return await accounts.client.post("/api/auth/login", json=body, headers=headers)


async def _strangers_try_passwords(accounts: Accounts, name: str) -> None:
    """From many addresses, until all new places have used up what they have."""
    for number in range(PASSWORDS_MAX):
        place = Place(f"address 198.51.100.{number // PASSWORDS_AT_NEW_PLACE_MAX}", known=False)
        await accounts.parts.throttle.count_login(name, place)
    with pytest.raises(GuessesRefused):
        await accounts.parts.throttle.count_login(name, Place("address 192.0.2.1", known=False))


async def test_who_knows_the_password_can_neither_guess_the_code_nor_keep_the_owner_out(accounts: Accounts) -> None:
    device, recovery = await _switched_on(accounts, await accounts.token())
    await accounts.login(totp_code=device.code())
    for attempt in range(SINGLE_CODES_A_DAY_MAX):
        wrong = await _login_from(accounts, attempt // CODES_MAX, "ann", totp_code="000000")
        assert (wrong.status, wrong.problem) == (403, "totp-code-wrong")
    assert (await _login_from(accounts, 0, "ann", totp_code=recovery[0])).status == 429, "that address has had its part"
    await device.rewind(accounts)
    refused = await _login_from(accounts, 7, "ann", totp_code=device.code())
    assert (refused.status, refused.problem) == (429, "too-many-attempts")
    assert 900 < int(refused.headers["Retry-After"]) <= DAY_SECONDS
    assert "two codes" in refused.body["detail"]

    await accounts.login(totp_code=device.code())  # where the owner was before nothing of that counts
    await device.rewind(accounts)
    pair = device.code() + device.code()
    assert (await _login_from(accounts, 8, "ann", totp_code=pair[6:] + pair[:6])).status == 403
    assert (await _login_from(accounts, 8, "ann", totp_code=pair)).status == 200
    assert (await _login_from(accounts, 8, "ann", totp_code=pair)).status == 403, "each works once"
    assert (await _login_from(accounts, 9, "ann", totp_code=recovery[0])).status == 200
    assert (await _login_from(accounts, 10, "ann", totp_code="000000")).status == 429, "still"


async def test_codes_that_are_right_use_nothing_up(accounts: Accounts) -> None:
    device, _ = await _switched_on(accounts, await accounts.token())
    factor, user = accounts.parts.factor, (await accounts.parts.store.find_by_name("ann"))
    assert user is not None
    for number in range(SINGLE_CODES_A_DAY_MAX + 1):
        await device.rewind(accounts)
        await factor.check(user.user.user_id, device.code(), Place(f"address 203.0.113.{number}", known=False))


async def test_strangers_cannot_lock_a_name(accounts: Accounts) -> None:
    await accounts.register("bob")
    before = (await accounts.login("bob"))["refresh_token"]
    others = (await accounts.login((await accounts.register("eve"))["username"]))["refresh_token"]
    for _ in range(PASSWORDS_AT_NEW_PLACE_MAX):
        assert (await _login_from(accounts, 0, "bob", "wrong horse")).status == 401
    assert (await _login_from(accounts, 0, "bob")).status == 429, "from there even the right one"
    assert (await _login_from(accounts, 1, "bob")).status == 200, "one address uses up its own part only"

    await accounts.pool.execute("DELETE FROM attempts")
    for name in ("bob", "nobody_has_it"):
        await _strangers_try_passwords(accounts, name)
        refused = await _login_from(accounts, 2, name)
        assert (refused.status, refused.problem) == (429, "too-many-attempts"), name
        assert 0 < int(refused.headers["Retry-After"]) <= 900
    await accounts.login("bob")  # from where bob was before
    for token, status in ((others, 429), ("nonsense", 429), (before, 200)):
        answer = await _login_from(accounts, 3, "bob", former_refresh_token=token)
        assert answer.status == status, "a device that bob has used is known on every network"
    assert (await accounts.refresh(before)).status == 200, "nothing was done with its token"


async def test_a_known_place_has_its_own_limit(accounts: Accounts) -> None:
    user_id = UUID((await accounts.register())["user_id"])
    token = (await accounts.login())["refresh_token"]
    throttle = accounts.parts.throttle
    for place in (await throttle.place(user_id, "127.0.0.1"), await throttle.place(user_id, "192.0.2.9", token)):
        assert place.known
        for _ in range(PASSWORDS_MAX):
            await throttle.count_login("ann", place)
        with pytest.raises(TooManyAttempts):
            await throttle.count_login("ann", place)


async def test_an_owner_with_a_second_factor_comes_in_from_anywhere(accounts: Accounts) -> None:
    device, recovery = await _switched_on(accounts, await accounts.token())
    await _strangers_try_passwords(accounts, "ann")
    pair = device.code() + device.code()
    await device.rewind(accounts)
    for code, status in ((device.code(), 429), (f"{pair[6:]}{pair[:6]}", 429), ("aaaa-aaaa", 429), (pair, 200)):
        answer = await _login_from(accounts, 1, "ann", totp_code=code)
        assert answer.status == status, code
        assert status == 200 or answer.problem == "too-many-attempts", "nothing is told of codes without the password"
    assert (await _login_from(accounts, 2, "ann", "wrong horse", totp_code=recovery[0])).status == 401


async def test_nobody_learns_without_the_password_whether_there_is_a_second_factor(accounts: Accounts) -> None:
    user_id = UUID((await accounts.register())["user_id"])
    await _switched_on(accounts, (await accounts.login())["access_token"])
    await _strangers_try_passwords(accounts, "ann")
    place = await accounts.parts.throttle.place(user_id, "203.0.113.1")
    for _ in range(CODES_MAX):
        await accounts.parts.throttle.count_code(user_id, place, single=False)
    used_up = await _login_from(accounts, 1, "ann", "wrong horse", totp_code="aaaa-aaaa")
    without = await _login_from(accounts, 1, "ann", "wrong horse")
    assert used_up.body["detail"] == without.body["detail"]


async def test_what_the_password_alone_has_opened_is_not_known_once_there_is_a_second_factor(
    accounts: Accounts,
) -> None:
    user_id = UUID((await accounts.register())["user_id"])
    login = await accounts.login()
    throttle = accounts.parts.throttle

    async def known(token: str) -> tuple[bool, bool]:
        by_token = await throttle.place(user_id, "192.0.2.9", token)
        return (await throttle.place(user_id, "127.0.0.1")).known, by_token.known

    assert await known(login["refresh_token"]) == (True, True)
    device, _ = await _switched_on(accounts, login["access_token"])
    assert await known(login["refresh_token"]) == (False, False)
    assert await known((await accounts.login(totp_code=device.code()))["refresh_token"]) == (True, True)


async def test_what_the_password_of_before_has_opened_is_not_known_once_there_is_another(accounts: Accounts) -> None:
    user_id = UUID((await accounts.register())["user_id"])
    here, ended, thief = [await accounts.login() for _ in range(3)]
    tokens = [login["refresh_token"] for login in (here, ended, thief)]
    assert (await accounts.client.post("/api/auth/logout", json={"refresh_token": tokens[1]})).status == 204
    assert (await _login_from(accounts, 0, "ann")).status == 200
    throttle = accounts.parts.throttle

    async def known(address: str, token: str | None = None) -> bool:
        return (await throttle.place(user_id, address, token)).known

    assert [await known("192.0.2.9", token) for token in tokens] == [True, True, True]
    assert await known("203.0.113.0")
    changed = {"password": PASSWORD, "new_password": "another horse"}
    answer = await accounts.client.put("/api/auth/password", json=changed, token=here["access_token"])
    assert answer.status == 204
    assert [await known("192.0.2.9", token) for token in tokens] == [True, False, False], "this one goes on"
    assert not await known("203.0.113.0")
    assert await known("127.0.0.1"), "where it was changed"


async def test_a_stolen_access_token_keeps_its_owner_from_nothing_in_another_session(accounts: Accounts) -> None:
    user_id = UUID((await accounts.register())["user_id"])
    stolen, other = await accounts.login(), await accounts.login()
    stolen_id, _ = sorted([row["session_id"] for row in await accounts.pool.fetch("SELECT session_id FROM sessions")])
    for _ in range(PASSWORDS_MAX):
        await accounts.parts.throttle.count_password(user_id, stolen_id)

    async def enrol(token: str) -> int:
        return (await accounts.client.post("/api/auth/totp", json=CONFIRMED, token=token)).status

    assert (await enrol(stolen["access_token"]), await enrol(other["access_token"])) == (429, 201)


async def test_attempts_are_kept_as_long_as_their_window(accounts: Accounts) -> None:
    await _switched_on(accounts, await accounts.token())
    assert (await _login_from(accounts, 0, "ann", totp_code="000000")).status == 403
    kept: list[Any] = []
    for window in ("16 minutes", "1 day"):
        await accounts.pool.execute("UPDATE attempts SET began_at = began_at - $1::text::interval", window)
        await Expiry(accounts.pool, session_idle_days=30).clear()
        kept.append(await accounts.pool.fetchval("SELECT count(*) FROM attempts"))
    assert kept == [1, 0]
