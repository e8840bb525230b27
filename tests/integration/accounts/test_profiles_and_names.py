"""Profiles, names, operators and the end of an account, on a real database and a real Redis."""

import asyncio
import base64
import json
from typing import Any
from uuid import UUID

from redis.asyncio import Redis

from accounts.operators import list_operators, set_operator
from accounts.profile_cache import ProfileCache
from accounts.profiles import Profiles
from runtime.ids import uuid7
from runtime.tokens import Caller
from tests.contract.held_client import Answer
from tests.integration.accounts.conftest import CACHE_SECONDS_MAX, PASSWORD, Accounts


def _cache(accounts: Accounts, redis: Redis | None = None) -> ProfileCache:
    """That of another process."""
    return ProfileCache(redis or accounts.redis, prefix=accounts.cache_prefix, answer_seconds_max=CACHE_SECONDS_MAX)


async def test_a_profile_is_cached_and_changes_everywhere_at_once(accounts: Accounts) -> None:
    user = await accounts.register("Ann")
    token = (await accounts.login())["access_token"]
    by_id, by_name = f"/api/users/{user['user_id']}/profile", "/api/users/by-name/ANN"
    # The profiles of another process share Redis and nothing else.
    elsewhere = Profiles(accounts.pool, _cache(accounts))
    first = await accounts.client.get(by_id)
    assert (first.body["display_name"], first.body["bio"]) == ("ann", "")
    assert "s-maxage" in first.headers["Cache-Control"]
    assert (await accounts.client.get(by_name)).body == first.body
    assert (await accounts.client.get(by_id, headers={"If-None-Match": first.headers["ETag"]})).status == 304
    await accounts.pool.execute("UPDATE users SET bio = 'behind the cache'")
    assert (await accounts.client.get(by_id)).body == first.body, "it came from the cache"

    change = {"display_name": "  Ann Ünd  ", "bio": "Chess.\r\nAnd more. 👩\u200d🔬"}
    changed = await accounts.client.request("PATCH", "/api/users/me/profile", json=change, token=token)
    assert (changed.status, changed.body["display_name"]) == (200, "Ann Ünd")
    assert changed.body["bio"] == "Chess.\nAnd more. 👩\u200d🔬"
    assert (await accounts.client.get(by_id)).body == (await accounts.client.get(by_name)).body == changed.body
    assert json.loads(await elsewhere.find(UUID(user["user_id"]))) == changed.body
    only = await accounts.client.request("PATCH", "/api/users/me/profile", json={"display_name": None}, token=token)
    assert (only.body["display_name"], only.body["bio"]) == ("ann", changed.body["bio"]), "what is left out stays"
    for path in (f"/api/users/{uuid7()}/profile", "/api/users/by-name/nobody", "/api/users/by-name/%C3%BC"):
        assert (await accounts.client.get(path)).problem == "user-not-found"
    assert (await accounts.client.get("/api/users/x/profile")).status == 422


async def test_who_reads_while_somebody_changes_keeps_nothing_outdated(accounts: Accounts) -> None:
    cache = _cache(accounts)
    reading, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> bytes:
        reading.set()
        await go_on.wait()
        return b'"before"'

    async def fresh() -> bytes:
        return b'"after"'

    late = asyncio.create_task(cache.get("id:1", slow))
    await reading.wait()
    await cache.forget(["id:1"])
    go_on.set()
    assert await late == b'"before"', "that was the truth when it was asked"
    assert await cache.get("id:1", fresh) == b'"after"'
    assert await cache.get("id:1", slow) == b'"after"', "kept"


async def test_without_redis_profiles_are_read_and_what_is_to_be_forgotten_is_owed(accounts: Accounts) -> None:
    dead = Redis(host="127.0.0.1", port=1)
    cache, kept = _cache(accounts, dead), f"{accounts.cache_prefix}:id:2"

    async def load() -> bytes:
        return b'"now"'

    assert await cache.get("id:2", load) == b'"now"'
    await accounts.redis.set(kept, b'"outdated"')
    await cache.forget(["id:2"])
    cache._redis = accounts.redis
    assert await cache.get("id:2", load) == b'"now"', "owed, so not believed here"
    paying = asyncio.create_task(cache.run())
    async with asyncio.timeout(10):
        while await accounts.redis.exists(kept):  # noqa: ASYNC110  another client's key says it
            await asyncio.sleep(0.02)
    paying.cancel()
    await dead.aclose()


async def test_a_name_is_changed_told_and_kept_for_its_owner(accounts: Accounts) -> None:
    user = await accounts.register("ann")
    login = await accounts.login()
    await accounts.register("bob")

    async def rename(username: str, password: str = PASSWORD) -> Answer:
        body = {"username": username, "password": password}
        return await accounts.client.put("/api/auth/username", json=body, token=login["access_token"])

    assert (await rename("bob")).problem == "username-taken"
    assert (await rename("anna", "wrong horse")).problem == "password-wrong"
    assert (await rename("ann")).status == 200
    assert await accounts.events() == [], "nothing happened so far"
    await accounts.client.get("/api/users/by-name/ann")
    assert (await rename("Anna")).body == {"user_id": user["user_id"], "username": "anna"}
    ((kind, event),) = await accounts.events()
    assert (kind, event["user_id"], event["username"]) == ("account.renamed", user["user_id"], "anna")
    assert (await accounts.client.get("/api/users/by-name/ann")).status == 404
    assert (await accounts.refresh(login["refresh_token"])).body["user"]["username"] == "anna"
    taken = await accounts.client.post("/api/auth/register", json={"username": "ann", "password": PASSWORD})
    assert taken.problem == "username-taken", "nobody takes it over"
    soon = await rename("ann")
    assert (soon.status, soon.problem) == (409, "renamed-lately")
    await accounts.pool.execute("UPDATE users SET renamed_at = renamed_at - interval '31 days'")
    assert (await rename("ann")).status == 200, "its owner may have it back"


async def test_a_deleted_account_leaves_nothing_but_a_resting_name(accounts: Accounts) -> None:
    user = await accounts.register("ann")
    login = await accounts.login()
    token, me = login["access_token"], "/api/auth/me"
    await accounts.client.get("/api/users/by-name/ann")
    await accounts.client.post("/api/auth/totp", json={"password": PASSWORD}, token=token)
    wrong = await accounts.client.delete(me, json={"password": "wrong horse"}, token=token)
    assert wrong.problem == "password-wrong"
    assert (await accounts.client.delete("/api/users/me", json={"password": PASSWORD}, token=token)).status == 204
    assert await accounts.events() == [("account.deleted", {"user_id": user["user_id"], "deleted_at": _any()})]
    assert (await accounts.client.get(me, token=token)).problem == "account-gone"
    again = await accounts.client.delete(me, json={"password": PASSWORD}, token=token)
    assert again.problem == "account-gone"
    assert (await accounts.refresh(login["refresh_token"])).status == 401
    assert (await accounts.try_login()).problem == "bad-credentials"
    for path in ("/api/users/by-name/ann", f"/api/users/{user['user_id']}/profile"):
        assert (await accounts.client.get(path)).status == 404
    tables = ("users", "sessions", "refresh_tokens", "totp", "recovery_codes", "known_addresses")
    counts = {table: await accounts.pool.fetchval(f"SELECT count(*) FROM {table}") for table in tables}  # noqa: S608  names from above
    assert not any(counts.values()), counts
    assert "ann" not in str(await accounts.pool.fetch("SELECT resting_names::text FROM resting_names"))
    body = {"username": "ANN", "password": PASSWORD}
    assert (await accounts.client.post("/api/auth/register", json=body)).problem == "username-taken"
    await accounts.pool.execute("UPDATE resting_names SET free_at = now()")
    assert (await accounts.client.post("/api/auth/register", json=body)).status == 201


def _any() -> Any:  # noqa: ANN401  equal to whatever it is compared with
    class Anything:
        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 0

    return Anything()


async def test_operators_are_known_by_their_tokens(accounts: Accounts) -> None:
    user = await accounts.register("ann")
    assert await set_operator(accounts.pool, "nobody", is_operator=True) is None
    assert str(await set_operator(accounts.pool, "ann", is_operator=True)) == user["user_id"]
    assert [one.username for one in await list_operators(accounts.pool)] == ["ann"]
    login = await accounts.login()

    async def caller(token: str) -> Caller:
        return await accounts.parts.tokens.verify(token)

    assert (await caller(login["access_token"])).operator is True
    await accounts.refresh(login["refresh_token"])
    await set_operator(accounts.pool, "ann", is_operator=False)
    # Whatever way a token is got from now on: by one that was spent a moment ago, the one of now, or a login.
    again = await accounts.refresh(login["refresh_token"])
    for body in (again.body, (await accounts.refresh(again.body["refresh_token"])).body, await accounts.login()):
        assert (await caller(body["access_token"])).operator is False
    claims = json.loads(base64.urlsafe_b64decode(login["access_token"].split(".")[1] + "=="))
    assert (claims["operator"], claims["exp"] - claims["iat"]) == (True, 600), "those of before: ten minutes at most"


async def test_bad_input_is_refused_with_the_field_that_is_wrong(accounts: Accounts) -> None:
    token = await accounts.token()
    long, password = "x" * 129, {"password": PASSWORD}
    cases: list[tuple[str, str, Any, str]] = [
        ("PATCH", "/api/users/me/profile", {"display_name": ""}, "body.display_name"),
        ("PATCH", "/api/users/me/profile", {"display_name": "x" * 51}, "body.display_name"),
        ("PATCH", "/api/users/me/profile", {"display_name": "a\u202eb"}, "body.display_name"),
        ("PATCH", "/api/users/me/profile", {"display_name": "a\nb"}, "body.display_name"),
        ("PATCH", "/api/users/me/profile", {"display_name": "\u200d"}, "body.display_name"),
        ("PATCH", "/api/users/me/profile", {"display_name": "Z" + "\u0301" * 9}, "body.display_name"),
        ("PATCH", "/api/users/me/profile", {"display_name": 7}, "body.display_name"),
        ("PATCH", "/api/users/me/profile", {"bio": "x" * 501}, "body.bio"),
        ("PATCH", "/api/users/me/profile", {"bio": None}, "body.bio"),
        ("PATCH", "/api/users/me/profile", {"is_operator": True}, "body.is_operator"),
        ("PUT", "/api/auth/username", {**password, "username": "admin"}, "body.username"),
        ("PUT", "/api/auth/username", {**password, "username": "\u0430nn"}, "body.username"),
        ("PUT", "/api/auth/username", {**password, "username": None}, "body.username"),
        ("PUT", "/api/auth/username", {"username": "anna"}, "body.password"),
        ("PUT", "/api/auth/password", {**password, "new_password": "short"}, "body.new_password"),
        ("PUT", "/api/auth/password", {**password, "new_password": long}, "body.new_password"),
        ("PUT", "/api/auth/password", {**password, "new_password": ["x" * 9]}, "body.new_password"),
        ("DELETE", "/api/auth/me", {"password": long}, "body.password"),
        ("DELETE", "/api/users/me", {**password, "totp_code": "x" * 33}, "body.totp_code"),
        ("DELETE", "/api/auth/totp", {**password, "totp_code": ""}, "body.totp_code"),
        ("POST", "/api/auth/totp", {"password": 7}, "body.password"),
        ("POST", "/api/auth/totp/confirm", {"code": 123456}, "body.code"),
        ("POST", "/api/auth/totp/recovery-codes", {}, "body.password"),
        ("POST", "/api/auth/login", {**password, "username": "ann", "totp_code": "x" * 33}, "body.totp_code"),
    ]
    for method, path, body, field in cases:
        answer = await accounts.client.request(method, path, json=body, token=token)
        assert answer.status == 422, (method, path, body, answer.body)
        assert answer.body["errors"][0]["field"] == field, (method, path, body)
        assert PASSWORD not in json.dumps(answer.body)
    for method, path, body in {(method, path, "{}") for method, path, _, _ in cases if path != "/api/auth/login"}:
        stranger = await accounts.client.request(method, path, data=body, headers={"Content-Type": "application/json"})
        assert stranger.status == 401, (method, path)
