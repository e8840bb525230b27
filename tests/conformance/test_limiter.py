"""What every count of requests must do; the memory twin and Redis pass the same suite."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from pydantic import SecretStr

from runtime.limits import Limit, Limiter
from runtime.limits_memory import MemoryLimiter
from runtime.limits_redis import RedisLimiter
from runtime.redis_batches import RedisBatches
from runtime.redis_client import redis_client
from runtime.settings import RedisSettings

SHORT = Limit("short", 5, 1, per="user", away="closed")  # patient: the machine may be busy
LONG = Limit("long", 40, 3_600, per="user", away="closed")
SLOW = Limit("slow", 5, 6, per="user", away="closed")
FEW = Limit("few", 5, 3_600, per="user", away="closed")
AMOUNTS = {"short": 5, "long": 40, "slow": 5, "few": 5}


@pytest.fixture(params=["memory", "redis"])
async def limiter(request: pytest.FixtureRequest) -> AsyncIterator[Limiter]:
    if request.param == "memory":
        yield MemoryLimiter(AMOUNTS)
        return
    async with redis_client(RedisSettings(redis_url=SecretStr(request.getfixturevalue("redis_url")))) as client:
        yield RedisLimiter(RedisBatches(client), AMOUNTS)


async def test_as_many_as_allowed_pass_and_each_says_what_is_left(limiter: Limiter) -> None:
    subject = str(uuid4())
    verdicts = [await limiter.take(LONG, subject) for _ in range(42)]
    assert [verdict.allowed for verdict in verdicts] == [True] * 40 + [False] * 2
    assert [verdict.remaining for verdict in verdicts] == [*range(39, -1, -1), 0, 0]
    assert all(3_500 < verdict.reset_seconds <= 3_600 and verdict.amount == 40 for verdict in verdicts)


async def test_of_many_at_once_exactly_as_many_pass(limiter: Limiter) -> None:
    subject = str(uuid4())
    verdicts = await asyncio.gather(*(limiter.take(LONG, subject) for _ in range(400)))
    assert sum(verdict.allowed for verdict in verdicts) == 40


async def test_subjects_and_limits_are_counted_apart(limiter: Limiter) -> None:
    one, other = str(uuid4()), str(uuid4())
    for _ in range(5):
        assert (await limiter.take(FEW, one)).allowed
    assert not (await limiter.take(FEW, one)).allowed
    assert (await limiter.take(FEW, other)).allowed
    assert (await limiter.take(LONG, one)).remaining == 39


async def test_room_comes_back_one_by_one_as_the_window_moves(limiter: Limiter) -> None:
    subject = str(uuid4())
    loop = asyncio.get_running_loop()
    passed: list[tuple[float, float]] = []
    while len(passed) < 11:
        asked = loop.time()
        verdict = await limiter.take(SHORT, subject)
        if verdict.allowed:
            passed.append((asked, loop.time()))
        else:
            assert verdict.reset_seconds <= 1
            await asyncio.sleep(verdict.reset_seconds)
    # In no window are there more than allowed; a tenth is what the clocks and the loop may differ by.
    # It was counted at some time between the question and the answer.
    assert all(answered - asked > 0.9 for (asked, _), (_, answered) in zip(passed, passed[5:], strict=False))


async def test_what_has_left_the_window_makes_room_while_the_rest_still_counts(limiter: Limiter) -> None:
    subject = str(uuid4())
    for _ in range(3):
        await limiter.take(SLOW, subject)
    await asyncio.sleep(3)
    assert [(await limiter.take(SLOW, subject)).remaining for _ in range(2)] == [1, 0]
    await asyncio.sleep(3.1)
    assert [(await limiter.take(SLOW, subject)).remaining for _ in range(2)] == [2, 1]


async def test_who_is_refused_is_not_counted(limiter: Limiter) -> None:
    subject = str(uuid4())
    verdicts = [await limiter.take(SHORT, subject) for _ in range(50)]
    assert not all(verdict.allowed for verdict in verdicts)
    await asyncio.sleep(verdicts[-1].reset_seconds + 0.05)
    assert (await limiter.take(SHORT, subject)).allowed
