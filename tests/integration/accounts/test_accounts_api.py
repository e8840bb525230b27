"""The accounts API on a real database: what people can do, and what an attacker cannot."""

import asyncio
import json
from typing import Any

import pytest
from argon2 import PasswordHasher
from prometheus_client import Histogram

from accounts import metrics
from accounts.errors import SigningKeyUnreadable
from accounts.expiry import Expiry
from accounts.keys import load_signing_keys
from runtime.postgres import Pool
from runtime.tokens import parse_key_set, verify_with
from tests.contract.held_client import Answer
from tests.integration.accounts.conftest import SECRET, Accounts


async def test_register_login_and_be_known(accounts: Accounts) -> None:
    user = await accounts.register("Ann_1")
    assert user["username"] == "ann_1", "capitals are folded"
    login = await accounts.login("ANN_1")
    assert login["user"] == user
    assert (login["token_type"], login["expires_in_seconds"]) == ("Bearer", 600)
    me = await accounts.client.get("/api/auth/me", token=login["access_token"])
    assert user.items() <= me.body.items()
    assert (me.body["is_operator"], me.body["totp"]) == (False, False)


async def test_the_published_keys_verify_the_token_elsewhere(accounts: Accounts) -> None:
    user = await accounts.register()
    token = (await accounts.login())["access_token"]
    answer = await accounts.client.get("/.well-known/jwks.json")
    assert answer.headers["Cache-Control"] == "public, max-age=300"
    assert "d" not in answer.body["keys"][0], "the private half is never published"
    (key,) = parse_key_set(json.dumps(answer.body).encode()).values()
    assert str(verify_with(key, token, "livestream").user_id) == user["user_id"]


async def test_registration_says_its_event_in_the_same_transaction(accounts: Accounts, pool: Pool) -> None:
    user = await accounts.register()
    rows = await pool.fetch("SELECT topic, type, data FROM outbox")
    assert [(row["topic"], row["type"]) for row in rows] == [("accounts.v1", "account.registered")]
    event = json.loads(rows[0]["data"])
    assert (event["user_id"], event["username"]) == (user["user_id"], "ann")
    taken = await accounts.client.post("/api/auth/register", json={"username": "ANN", "password": "another one"})
    assert (taken.status, taken.problem) == (409, "username-taken")
    assert await pool.fetchval("SELECT count(*) FROM outbox") == 1, "who was refused is told of by no event"


async def test_of_many_who_want_a_name_one_gets_it(accounts: Accounts, pool: Pool) -> None:
    hashed = await accounts.parts.passwords.hash("correct horse")
    store = accounts.parts.store
    tries = await asyncio.gather(*(store.add_user("ann", hashed) for _ in range(8)), return_exceptions=True)
    assert sum(not isinstance(one, Exception) for one in tries) == 1
    assert await pool.fetchval("SELECT count(*) FROM users") == 1
    assert await pool.fetchval("SELECT count(*) FROM outbox") == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"username": "ab", "password": "long enough"}, "body.username"),
        ({"username": "a" * 31, "password": "long enough"}, "body.username"),
        ({"username": "ann ann", "password": "long enough"}, "body.username"),
        ({"username": "änn", "password": "long enough"}, "body.username"),
        ({"username": "ann\n", "password": "long enough"}, "body.username"),
        ({"username": "ann", "password": "short"}, "body.password"),
        ({"username": "ann", "password": "x" * 129}, "body.password"),
        ({"username": "ann"}, "body.password"),
        ({"username": 7, "password": "long enough"}, "body.username"),
    ],
)
async def test_what_cannot_be_registered(accounts: Accounts, body: dict[str, Any], field: str) -> None:
    answer = await accounts.client.post("/api/auth/register", json=body)
    assert (answer.status, answer.body["errors"][0]["field"]) == (422, field)
    assert "long enough" not in json.dumps(answer.body), "a password is never repeated"


async def test_a_wrong_password_and_an_unknown_name_are_told_alike(accounts: Accounts) -> None:
    await accounts.register()
    wrong = await accounts.client.post("/api/auth/login", json={"username": "ann", "password": "wrong horse"})
    unknown = await accounts.client.post("/api/auth/login", json={"username": "nobody", "password": "wrong horse"})
    assert wrong.status == unknown.status == 401
    strip = {"trace_id": None}
    assert {**wrong.body, **strip} == {**unknown.body, **strip}


async def test_a_wrong_password_and_an_unknown_name_cost_the_same_work(accounts: Accounts) -> None:
    await accounts.register()
    hashes = metrics.password_seconds
    costs = {}
    for name in ("ann", "unheard_of", "ab", "Ünheard"):
        before = _count(hashes)
        assert (await accounts.try_login(name, "wrong horse")).status == 401
        costs[name] = _count(hashes) - before
    assert set(costs.values()) == {1}, "one hash each, whoever is asked for"


def _count(histogram: Histogram) -> float:
    (family,) = histogram.collect()
    return next(sample.value for sample in family.samples if sample.name.endswith("_count"))


async def test_refresh_rotates(accounts: Accounts) -> None:
    await accounts.register()
    first = await accounts.login()
    second = await accounts.client.post("/api/auth/refresh", json={"refresh_token": first["refresh_token"]})
    assert second.status == 200
    assert second.body["refresh_token"] != first["refresh_token"]
    third = await accounts.client.post("/api/auth/refresh", json={"refresh_token": second.body["refresh_token"]})
    assert third.status == 200


async def test_refresh_tokens_are_hashed_at_rest(accounts: Accounts, pool: Pool) -> None:
    await accounts.register()
    token = (await accounts.login())["refresh_token"]
    assert len(token) >= 43, "256 bits in base64url"
    for table in ("refresh_tokens", "sessions", "outbox", "users", "signing_keys"):
        as_rows = await pool.fetch(f"SELECT * FROM {table}")  # noqa: S608  names from above
        assert token[:16] not in str(as_rows), table
        as_text = await pool.fetch(f"SELECT {table}::text FROM {table}")  # noqa: S608  names from above
        assert token[:16].encode().hex() not in str(as_text)


async def test_an_expired_session_is_refused_and_cleared_away(accounts: Accounts, pool: Pool) -> None:
    await accounts.register()
    login, other = await accounts.login(), await accounts.login()
    await pool.execute(
        "UPDATE sessions SET expires_at = now() WHERE session_id = (SELECT min(session_id::text)::uuid FROM sessions)"
    )
    assert (await Expiry(pool, session_idle_days=30).clear())["sessions"] == 1
    tokens = [login["refresh_token"], other["refresh_token"]]
    answers = [await accounts.client.post("/api/auth/refresh", json={"refresh_token": token}) for token in tokens]
    assert sorted(answer.status for answer in answers) == [200, 401]
    await pool.execute("UPDATE sessions SET expires_at = now()")
    successor = next(answer for answer in answers if answer.status == 200).body["refresh_token"]
    late = await accounts.client.post("/api/auth/refresh", json={"refresh_token": successor})
    assert late.status == 401, "expired but not yet cleared"


async def test_old_tokens_of_a_session_that_goes_on_are_cleared_away(accounts: Accounts, pool: Pool) -> None:
    await accounts.register()
    login = await accounts.login()
    await pool.execute("UPDATE refresh_tokens SET issued_at = now() - interval '31 days'")
    newer = await accounts.client.post("/api/auth/refresh", json={"refresh_token": login["refresh_token"]})
    assert (await Expiry(pool, session_idle_days=30).clear())["tokens"] == 1
    again = await accounts.client.post("/api/auth/refresh", json={"refresh_token": newer.body["refresh_token"]})
    assert again.status == 200


async def test_logout_ends_the_session(accounts: Accounts) -> None:
    await accounts.register()
    token = (await accounts.login())["refresh_token"]
    for _ in range(2):
        out = await accounts.client.post("/api/auth/logout", json={"refresh_token": token})
        assert out.status == 204, "logging out twice is no error"
    answer = await accounts.client.post("/api/auth/refresh", json={"refresh_token": token})
    assert answer.status == 401


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "é", "eyJhbGciOiJub25lIn0.e30.", "x" * 5000])
async def test_tokens_that_let_nobody_in(accounts: Accounts, token: str) -> None:
    answer = await accounts.client.get("/api/auth/me", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status, answer.problem) == (401, "not-authenticated")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    if len(token) > 3:
        assert token not in json.dumps(answer.body)


async def test_without_a_token_me_is_nobody(accounts: Accounts) -> None:
    answer = await accounts.client.get("/api/auth/me")
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


async def test_a_full_queue_of_passwords_refuses_at_once_with_retry_after(accounts: Accounts) -> None:
    await accounts.register()
    await accounts.login()  # the address is known, so its number of tries alone is no reason to refuse
    body = {"username": "ann", "password": "correct horse"}
    refused: list[Answer] = []
    async with asyncio.timeout(30):
        while not refused:  # they may have come one after the other
            answers = await asyncio.gather(*(accounts.client.post("/api/auth/login", json=body) for _ in range(16)))
            refused = [answer for answer in answers if answer.status == 503]
    assert {answer.status for answer in answers} == {200, 503}
    assert all(answer.problem == "logins-busy" and answer.headers["Retry-After"] == "2" for answer in refused)
    await accounts.login()  # and it empties again


async def test_of_processes_that_start_at_once_one_makes_the_key(pool: Pool) -> None:
    # All connections are open beforehand, else the first is done before the others have one.
    for connection in [await pool.acquire() for _ in range(6)]:
        await pool.release(connection)
    loaded = await asyncio.gather(*(load_signing_keys(pool, SECRET) for _ in range(6)))
    assert len({keys.current_id for keys in loaded}) == 1
    assert await pool.fetchval("SELECT count(*) FROM signing_keys") == 1


async def test_the_private_key_is_sealed_at_rest(pool: Pool) -> None:
    keys = await load_signing_keys(pool, SECRET)
    assert keys.current.private is not None
    private = str(keys.current.private.as_dict(private=True)["d"])
    assert private not in str(await pool.fetch("SELECT * FROM signing_keys"))
    with pytest.raises(SigningKeyUnreadable, match="LIVESTREAM_ACCOUNTS_KEY_SECRET"):
        await load_signing_keys(pool, b"x" * 32)


async def test_an_old_hash_is_replaced_at_login(accounts: Accounts, pool: Pool) -> None:
    await accounts.register()
    await pool.execute("UPDATE users SET password_hash = $1", PasswordHasher(1, 1024, 1).hash("correct horse"))
    await accounts.login()
    assert "m=19456,t=2,p=1" in await pool.fetchval("SELECT password_hash FROM users")
    await accounts.login()
