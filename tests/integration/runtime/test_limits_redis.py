"""Limits and kept answers over several servers, and with a Redis that is frozen, killed and started again."""

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from uuid import uuid4

import pytest
from aiohttp import ClientConnectionError, ClientSession
from redis.asyncio import Redis

from deploy.local.stack import Stack
from tests.integration.runtime.guarded import AMOUNTS, guarded_server, new_session

SERVERS = 3
WAIT_SECONDS_MAX = 20.0
AWAY = 503
ATTEMPTS = 5
"""A Redis that has not answered for two seconds is away: where everything is busy it may be, for a moment."""


@dataclass
class Site:
    """Servers that share a Redis."""

    urls: list[str]
    session: ClientSession

    async def read(self, user: str, server: int = 0) -> int:
        headers = {"Authorization": f"Bearer {user}"}
        async with self.session.get(f"{self.urls[server % len(self.urls)]}/mine", headers=headers) as answer:
            return answer.status

    async def log_in(self, address: str, server: int = 0) -> tuple[int, str | None]:
        headers = {"X-Forwarded-For": address}
        async with self.session.post(f"{self.urls[server % len(self.urls)]}/login", headers=headers) as answer:
            return answer.status, answer.headers.get("Retry-After")

    async def do(self, user: str, key: str, deed: Mapping[str, object], server: int = 0) -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {user}", "Idempotency-Key": key}
        url = f"{self.urls[server % len(self.urls)]}/deeds"
        async with self.session.post(url, headers=headers, json=deed) as answer:
            return answer.status, await answer.text()


@pytest.fixture
async def site(redis_url: str) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(guarded_server(redis_url)) for _ in range(SERVERS)]
        yield Site(urls, await stack.enter_async_context(new_session()))


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while not await holds():  # noqa: ASYNC110  what is waited for happens in another process
            await asyncio.sleep(0.05)


async def test_over_three_servers_exactly_as_many_pass_as_are_allowed(site: Site) -> None:
    for _ in range(ATTEMPTS):
        addresses = [f"2001:db8:{uuid4().hex[:4]}:{n}::1" for n in range(2)]
        logins = [(address, n) for n in range(5 * AMOUNTS["logins"]) for address in addresses]
        statuses = await asyncio.gather(*(site.log_in(address, n) for address, n in logins))
        if all(status != AWAY for status, _ in statuses):
            break
    passed = Counter(address for (address, _), (status, _) in zip(logins, statuses, strict=True) if status == 204)
    assert passed == dict.fromkeys(addresses, AMOUNTS["logins"])
    assert {status for status, _ in statuses} == {204, 429}


async def test_of_many_repetitions_over_three_servers_one_is_done(site: Site) -> None:
    for _ in range(ATTEMPTS):
        user, deed = str(uuid4()), {"counter": f"test:{uuid4()}"}
        answers = await asyncio.gather(*(site.do(user, "k", deed, n) for n in range(60)))
        if all(status != AWAY for status, _ in answers):
            break
    assert {status for status, _ in answers} <= {200, 409}
    assert {text for status, text in answers if status == 200} == {'{"times":1}'}
    assert await site.do(user, "k", deed) == (200, '{"times":1}')
    assert await site.do(str(uuid4()), "k", deed) == (200, '{"times":2}')


async def test_a_request_whose_process_was_killed_in_between_is_not_done_twice(site: Site, redis_url: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.runtime.guarded", redis_url, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        url = (await asyncio.wait_for(process.stdout.readline(), WAIT_SECONDS_MAX)).decode().strip()
        doomed = Site([url], site.session)
        user, counter = str(uuid4()), f"test:{uuid4()}"
        deed: dict[str, object] = {"counter": counter, "die": True}
        with pytest.raises(ClientConnectionError):
            await doomed.do(user, "k", deed)
        assert await process.wait() == -signal.SIGKILL
    finally:
        if process.returncode is None:
            process.kill()

    async def is_given_up() -> bool:
        status, text = await site.do(user, "k", deed)
        assert status == 409
        return "idempotent-outcome-unknown" in text

    await eventually(is_given_up)
    redis = Redis.from_url(redis_url)
    assert await redis.get(counter) == b"1"
    await redis.aclose()


async def test_without_redis_reads_pass_logins_are_refused_and_it_comes_back_by_itself(
    own_stack: Callable[..., Stack],
) -> None:
    stack = own_stack("redis")
    url = stack.environment()["LIVESTREAM_REDIS_URL"]
    async with guarded_server(url) as served, new_session() as session:
        site = Site([served], session)
        for break_it, mend in (
            (lambda: os.kill(stack.pid("redis"), signal.SIGSTOP), lambda: os.kill(stack.pid("redis"), signal.SIGCONT)),
            (lambda: stack.kill("redis"), lambda: stack.start("redis")),
        ):
            await _counts(site)
            await asyncio.to_thread(break_it)
            await _degrades(site)
            await asyncio.to_thread(mend)
            await _counts(site)


async def _counts(site: Site) -> None:
    user, address = str(uuid4()), f"203.0.113.{uuid4().int % 250}"

    async def is_counted() -> bool:
        return 429 in [await site.read(user) for _ in range(AMOUNTS["api"] + 1)]

    async def is_known() -> bool:
        return 429 in [(await site.log_in(address))[0] for _ in range(AMOUNTS["logins"] + 1)]

    await eventually(is_counted)
    await eventually(is_known)


async def _degrades(site: Site) -> None:
    user = str(uuid4())
    since = time.monotonic()
    statuses = [await site.read(user) for _ in range(300)]
    # One in a second waits for a tenth of one; the rest of the time is this machine's.
    assert statuses == [204] * 300
    assert time.monotonic() - since < 300 * 0.1
    assert await site.log_in("203.0.113.251") == (503, "2")
    assert (await site.do(user, "k", {"counter": f"test:{user}"}))[0] == 503
