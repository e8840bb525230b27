"""Signing keys change while processes run: nobody is logged out, and verifiers always have the key they need."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from accounts.access_tokens import AccessTokens
from accounts.errors import SigningKeyUnreadable
from accounts.key_ring import DAY_SECONDS, KeyRing
from accounts.keys import RETIRED_SECONDS_MAX, list_keys, replace_leaked_keys, rotate_keys
from accounts.store import User
from runtime.ids import uuid7
from runtime.postgres import Pool
from runtime.tokens import InvalidToken, TokenVerifier
from tests.integration.accounts.conftest import SECRET

LEAD_SECONDS = 600.0  # the tests say when it is over
USER = User(uuid7(), "ann")


class Process:
    """An accounts process as far as keys go: a ring that looks often, and signs."""

    def __init__(self, pool: Pool) -> None:
        self.ring = KeyRing(pool, SECRET, lead_seconds=LEAD_SECONDS, rotation_days=0, poll_seconds=0.05)
        self.tokens = AccessTokens(self.ring, issuer="livestream", lifetime_seconds=600)

    def issue(self) -> str:
        """A token."""
        return self.tokens.issue(USER, uuid7())


@asynccontextmanager
async def running(pool: Pool) -> AsyncIterator[Process]:
    """A process whose ring runs."""
    process = Process(pool)
    await process.ring.look()
    task = asyncio.create_task(process.ring.run())
    try:
        yield process
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class CachedKeySet:
    """The key set as a cache between us and a verifier gives it out: as it was when it was last let through."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._kept: list[dict[str, object]] = []

    def renew(self) -> None:
        """The cache's copy was too old."""
        self._kept = [dict(key) for key in self._process.ring.public]

    async def answer(self, _request: web.Request) -> web.Response:
        """The copy."""
        return web.json_response({"keys": self._kept})


async def _keys(pool: Pool) -> int:
    count: int = await pool.fetchval("SELECT count(*) FROM signing_keys")
    return count


async def _end_the_lead(pool: Pool) -> None:
    """Let the new key sign from now on."""
    await pool.execute("UPDATE signing_keys SET signs_from = now() WHERE signs_from > now()")
    await pool.execute("UPDATE signing_keys SET retired_at = now() WHERE retired_at > now()")


async def _until_public(process: Process, key_id: str) -> None:
    async with asyncio.timeout(10):
        while all(key["kid"] != key_id for key in process.ring.public):  # noqa: ASYNC110  its ring looks by itself
            await asyncio.sleep(0.01)


async def test_tokens_are_verified_before_while_and_after_keys_rotate(pool: Pool) -> None:
    async with running(pool) as first, running(pool) as second:
        cached = CachedKeySet(first)
        cached.renew()
        application = web.Application()
        application.router.add_get("/jwks", cached.answer)
        async with TestServer(application) as server:
            url = str(server.make_url("/jwks"))
            before = first.issue()
            assert (await TokenVerifier(url, "livestream").verify(before)).name == "ann"

            rotation = await rotate_keys(pool, SECRET, lead_seconds=LEAD_SECONDS)
            assert rotation is not None
            assert await rotate_keys(pool, SECRET, lead_seconds=LEAD_SECONDS) is None, "one is waiting"
            await _until_public(first, rotation.key_id)
            await _until_public(second, rotation.key_id)
            assert [key.state for key in await list_keys(pool)] == ["next", "current"]
            # What a verifier fetches during the lead has both keys. From here on the cache lets nothing new through.
            cached.renew()
            while_waiting = second.issue()
            verifier = TokenVerifier(url, "livestream")
            await verifier.verify(while_waiting)
            assert rotation.key_id not in (first.ring.current.key_id, second.ring.current.key_id)

            await _end_the_lead(pool)
            async with asyncio.timeout(10):
                while {one.ring.current.key_id for one in (first, second)} != {rotation.key_id}:  # noqa: ASYNC110  its ring looks by itself
                    await asyncio.sleep(0.01)
            fresh = TokenVerifier(url, "livestream")
            for token in (before, while_waiting, first.issue(), second.issue()):
                assert (await verifier.verify(token)).name == "ann"
                assert (await fresh.verify(token)).name == "ann", "as one that has only just started"
                assert (await second.tokens.verify(token)).name == "ann"
            assert first.ring.public[0]["kid"] == rotation.key_id, "the current one first"
            assert [key.state for key in await list_keys(pool)] == ["current", "retired"]


async def test_a_retired_key_goes_when_its_tokens_have_expired(pool: Pool) -> None:
    async with running(pool) as process:
        old = process.issue()
        rotation = await rotate_keys(pool, SECRET, lead_seconds=0.0)
        assert rotation is not None
        await pool.execute(
            "UPDATE signing_keys SET retired_at = now() - make_interval(secs => $1) WHERE retired_at IS NOT NULL",
            RETIRED_SECONDS_MAX + 1,
        )
        async with asyncio.timeout(10):
            while await _keys(pool) > 1:  # noqa: ASYNC110  its ring looks by itself
                await asyncio.sleep(0.01)
            # Its last look may have been before the rotation, or before the key was old.
            while [key["kid"] for key in process.ring.public] != [rotation.key_id]:  # noqa: ASYNC110  as above
                await asyncio.sleep(0.01)
        with pytest.raises(InvalidToken):
            await process.tokens.verify(old)


async def test_old_keys_rotate_by_themselves_once_whoever_notices(pool: Pool) -> None:
    rings = [KeyRing(pool, SECRET, lead_seconds=60, rotation_days=90) for _ in range(4)]
    for ring in rings:
        await ring.look()
    assert [await ring.rotate_if_due() for ring in rings] == [False] * 4
    await pool.execute("UPDATE signing_keys SET signs_from = now() - make_interval(secs => $1)", 90 * DAY_SECONDS)
    for ring in rings:
        await ring.look()
    assert sorted(await asyncio.gather(*(ring.rotate_if_due() for ring in rings))) == [False, False, False, True]
    assert await _keys(pool) == 2
    for ring in rings:
        await ring.look()
    assert [await ring.rotate_if_due() for ring in rings] == [False] * 4, "the new one is young, though it waits"


async def test_leaked_keys_are_forgotten_at_once_by_all(pool: Pool) -> None:
    async with running(pool) as process:
        leaked = process.issue()
        rotation = await replace_leaked_keys(pool, SECRET)
        await _until_public(process, rotation.key_id)
        assert process.ring.current.key_id == rotation.key_id
        with pytest.raises(InvalidToken):
            await process.tokens.verify(leaked)
        assert (await process.tokens.verify(process.issue())).name == "ann"


async def test_who_has_another_secret_rotates_nothing(pool: Pool) -> None:
    ring = KeyRing(pool, SECRET, lead_seconds=60, rotation_days=90)
    await ring.look()
    with pytest.raises(SigningKeyUnreadable):
        await rotate_keys(pool, b"x" * 32, lead_seconds=60)
    assert await _keys(pool) == 1
