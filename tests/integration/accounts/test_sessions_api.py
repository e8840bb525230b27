"""Login sessions on a real database: a lost answer costs nobody the login, a stolen token costs the thief his."""

import asyncio
from datetime import timedelta

import pytest
from argon2 import PasswordHasher

from accounts.sessions import ANSWERS_AGAIN_MAX, GRACE_SECONDS, Sessions
from runtime.ids import uuid7
from tests.integration.accounts.conftest import PASSWORD, Accounts


async def wait_out_the_grace(accounts: Accounts) -> None:
    """Let it seem that the last use of every session's tokens was some seconds ago."""
    await accounts.pool.execute(
        "UPDATE sessions SET rotated_at = rotated_at - make_interval(secs => $1)", GRACE_SECONDS + 0.5
    )


async def test_a_spent_token_is_answered_again_for_seconds_and_is_theft_later(accounts: Accounts) -> None:
    await accounts.register()
    stolen, other = await accounts.login(), await accounts.login()
    lost = await accounts.refresh(stolen["refresh_token"])
    again = await accounts.refresh(stolen["refresh_token"])
    assert (lost.status, again.status) == (200, 200)
    assert again.body["refresh_token"] not in (stolen["refresh_token"], lost.body["refresh_token"])
    # Another process, as after a restart, judges the same.
    elsewhere = Sessions(accounts.pool, idle=timedelta(days=1))
    assert (await elsewhere.rotate(stolen["refresh_token"])).session_id is not None
    # Of the answers one is used on; that spends the others, which are good for seconds and then theft.
    child = await accounts.refresh(again.body["refresh_token"])
    assert child.status == (await accounts.refresh(lost.body["refresh_token"])).status == 200
    assert len(await accounts.pool.fetch("SELECT FROM sessions WHERE revoked_at IS NULL")) == 2, "of the same session"
    await wait_out_the_grace(accounts)
    late = await accounts.refresh(lost.body["refresh_token"])
    assert (late.status, late.problem) == (401, "refresh-token-invalid")
    for token in (child.body["refresh_token"], stolen["refresh_token"]):
        assert (await accounts.refresh(token)).status == 401, "the whole family is dead"
    assert (await accounts.refresh(other["refresh_token"])).status == 200, "another login of the person goes on"


async def test_a_grandparent_is_theft_at_once(accounts: Accounts) -> None:
    await accounts.register()
    first = (await accounts.login())["refresh_token"]
    second = (await accounts.refresh(first)).body["refresh_token"]
    third = (await accounts.refresh(second)).body["refresh_token"]
    assert (await accounts.refresh(first)).status == 401, "its successor was used, so its answer was not lost"
    assert (await accounts.refresh(third)).status == 401


async def test_a_token_used_many_times_at_once_stays_one_session(accounts: Accounts) -> None:
    await accounts.register()
    token = (await accounts.login())["refresh_token"]
    answers = await asyncio.gather(*(accounts.refresh(token) for _ in range(6)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body["refresh_token"] for answer in answers}) == 6
    assert await accounts.pool.fetchval("SELECT generation FROM sessions") == 1, "one use, five answers again"
    await accounts.pool.execute("UPDATE sessions SET answered_again = $1", ANSWERS_AGAIN_MAX)
    assert (await accounts.refresh(token)).status == 401, "bounded"


async def test_tokens_from_before_there_were_generations(accounts: Accounts) -> None:
    await accounts.register()
    fresh = (await accounts.login())["refresh_token"]
    await accounts.pool.execute("UPDATE refresh_tokens SET generation = NULL")
    lost, again = await accounts.refresh(fresh), await accounts.refresh(fresh)
    assert (lost.status, again.status) == (200, 200), "the first refresh after an upgrade may be lost, too"
    third = await accounts.refresh(again.body["refresh_token"])
    assert third.status == 200
    assert (await accounts.refresh(fresh)).status == 401, "two generations old, as any other would be"
    assert (await accounts.refresh(third.body["refresh_token"])).status == 401, "and its session has ended"


@pytest.mark.parametrize("made_by", ["an older process", "one of this version"])
async def test_a_token_that_an_older_process_spent_is_theft(accounts: Accounts, made_by: str) -> None:
    await accounts.register()
    spent = (await accounts.login())["refresh_token"]
    if made_by == "an older process":
        await accounts.pool.execute("UPDATE refresh_tokens SET generation = NULL")
    await accounts.pool.execute("UPDATE refresh_tokens SET used_at = now()")  # older ones begin no generation
    assert (await accounts.refresh(spent)).status == 401


async def test_own_sessions_are_listed_and_ended_and_nobody_elses(accounts: Accounts) -> None:
    await accounts.register("ann")
    await accounts.register("bob")
    here, there, bobs = await accounts.login("ann"), await accounts.login("ann"), await accounts.login("bob")
    token = here["access_token"]
    listed = (await accounts.client.get("/api/auth/sessions", token=token)).body["sessions"]
    assert [one["current"] for one in listed] == [False, True], "the newest first"
    assert "Python" in listed[0]["client"]
    (bob_session,) = (await accounts.client.get("/api/auth/sessions", token=bobs["access_token"])).body["sessions"]
    for path, status in (
        (bob_session["session_id"], 404),
        (str(uuid7()), 404),
        ("x", 422),
        (listed[0]["session_id"], 204),
        (listed[0]["session_id"], 404),
    ):
        assert (await accounts.client.delete(f"/api/auth/sessions/{path}", token=token)).status == status, path
    assert (await accounts.refresh(there["refresh_token"])).status == 401
    assert (await accounts.refresh(bobs["refresh_token"])).status == 200

    out = await accounts.client.post("/api/auth/logout-everywhere", token=token)
    assert out.status == 204
    assert (await accounts.refresh(here["refresh_token"])).status == 401
    assert (await accounts.client.get("/api/auth/sessions", token=token)).body["sessions"] == []


async def test_a_new_password_ends_all_other_sessions(accounts: Accounts) -> None:
    await accounts.register()
    here, there = await accounts.login(), await accounts.login()
    token = here["access_token"]

    async def change(password: str, new_password: str) -> int:
        body = {"password": password, "new_password": new_password}
        return (await accounts.client.put("/api/auth/password", json=body, token=token)).status

    assert await change("wrong horse", "another horse") == 403
    assert await change(PASSWORD, "short") == 422
    assert (await accounts.refresh(there["refresh_token"])).status == 200, "nothing has changed"
    assert await change(PASSWORD, "another horse") == 204
    assert (await accounts.refresh(there["refresh_token"])).status == 401
    assert (await accounts.refresh(here["refresh_token"])).status == 200, "this one goes on"
    assert (await accounts.try_login()).status == 401
    assert (await accounts.try_login(password="another horse")).status == 200


@pytest.mark.parametrize("way", ["logout", "logout-everywhere", "one by one", "password"])
async def test_an_ended_session_is_over_at_once_also_for_who_lost_an_answer(accounts: Accounts, way: str) -> None:
    await accounts.register()
    here, there = await accounts.login(), await accounts.login()
    spent = there["refresh_token"]
    present = (await accounts.refresh(spent)).body["refresh_token"]
    other = (await accounts.client.get("/api/auth/sessions", token=there["access_token"])).body["sessions"]
    session_id = next(one["session_id"] for one in other if one["current"])
    client, token = accounts.client, here["access_token"]
    ended = {
        "logout": lambda: client.post("/api/auth/logout", json={"refresh_token": spent}),
        "logout-everywhere": lambda: client.post("/api/auth/logout-everywhere", token=token),
        "one by one": lambda: client.delete(f"/api/auth/sessions/{session_id}", token=token),
        "password": lambda: client.put(
            "/api/auth/password", json={"password": PASSWORD, "new_password": "another horse"}, token=token
        ),
    }
    assert (await ended[way]()).status == 204
    for one in (spent, present):
        answer = await accounts.refresh(one)
        assert (answer.status, answer.problem) == (401, "refresh-token-invalid"), "the ten seconds are no way back in"
    left = (await accounts.client.get("/api/auth/sessions", token=token)).body["sessions"]
    assert session_id not in [one["session_id"] for one in left]


async def test_a_login_that_is_under_way_does_not_outlive_the_password_it_showed(accounts: Accounts) -> None:
    await accounts.register()
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with accounts.pool.acquire() as connection, connection.transaction():
        await connection.execute("UPDATE users SET password_hash = 'another'")  # a change, as yet uncommitted
        login = asyncio.create_task(accounts.try_login())
        async with asyncio.timeout(10):
            while not await accounts.pool.fetchval(waiting):
                assert not login.done(), "it began beside the change"
                await asyncio.sleep(0.01)
    answer = await login
    assert (answer.status, answer.problem) == (401, "bad-credentials")
    assert await accounts.pool.fetchval("SELECT count(*) FROM sessions") == 0


async def test_logins_at_once_that_hash_the_password_anew_do_not_refuse_each_other(accounts: Accounts) -> None:
    await accounts.register()
    await accounts.pool.execute("UPDATE users SET password_hash = $1", PasswordHasher(1, 1024, 1).hash(PASSWORD))
    answers = await asyncio.gather(*(accounts.try_login() for _ in range(3)))
    assert [answer.status for answer in answers] == [200] * 3
