"""What every store of answers must do; the memory twin and Redis pass the same suite."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from secrets import token_hex
from uuid import uuid4

import pytest
from pydantic import SecretStr

from runtime.idempotency import Attempt, Kept, Repeats
from runtime.idempotency_memory import MemoryRepeats
from runtime.idempotency_redis import RedisRepeats
from runtime.redis_batches import RedisBatches
from runtime.redis_client import redis_client
from runtime.settings import RedisSettings

BRIEF_SECONDS = 0.3

Try = Callable[..., Attempt]


@asynccontextmanager
async def repeats_of(request: pytest.FixtureRequest, running_seconds_max: float) -> AsyncIterator[Repeats]:
    if request.param == "memory":
        yield MemoryRepeats(running_seconds_max=running_seconds_max, keys_per_user_max=3)
        return
    async with redis_client(RedisSettings(redis_url=SecretStr(request.getfixturevalue("redis_url")))) as client:
        yield RedisRepeats(RedisBatches(client), running_seconds_max=running_seconds_max, keys_per_user_max=3)


@pytest.fixture(params=["memory", "redis"])
async def repeats(request: pytest.FixtureRequest) -> AsyncIterator[Repeats]:
    async with repeats_of(request, 60.0) as made:
        yield made


@pytest.fixture(params=["memory", "redis"])
async def impatient(request: pytest.FixtureRequest) -> AsyncIterator[Repeats]:
    async with repeats_of(request, BRIEF_SECONDS) as made:
        yield made


@pytest.fixture
def attempt() -> Try:
    """Makes attempts of one user, each with an owner of its own."""
    user = str(uuid4())
    return lambda name="n", request="r", user=user: Attempt(user, name, request, token_hex(8))


async def test_one_of_many_begins_and_the_others_hear_its_answer(repeats: Repeats, attempt: Try) -> None:
    attempts = [attempt() for _ in range(50)]
    found = await asyncio.gather(*(repeats.begin(one) for one in attempts))
    assert found.count(None) == 1
    assert all(kept == Kept("r", abandoned=False, answer=None) for kept in found if kept is not None)
    await repeats.keep(attempts[found.index(None)], b"done")
    for request in ("r", "another"):
        kept = await repeats.begin(attempt(request=request))
        assert kept is not None
        assert (kept.request, kept.answer) == ("r", b"done")


async def test_what_failed_may_be_tried_again_and_only_by_its_owner_be_ended(repeats: Repeats, attempt: Try) -> None:
    first, other = attempt(), attempt()
    assert await repeats.begin(first) is None
    await repeats.forget(other)
    await repeats.keep(other, b"forged")
    kept = await repeats.begin(other)
    assert kept is not None
    assert kept.answer is None
    await repeats.forget(first)
    assert await repeats.begin(other) is None


async def test_who_asks_twice_since_the_first_answer_was_lost_has_begun(repeats: Repeats, attempt: Try) -> None:
    first = attempt()
    assert [await repeats.begin(first) for _ in range(2)] == [None, None]


async def test_work_that_nobody_ends_is_abandoned_and_not_begun_again(impatient: Repeats, attempt: Try) -> None:
    assert await impatient.begin(attempt()) is None
    await asyncio.sleep(BRIEF_SECONDS + 0.05)
    assert await impatient.begin(attempt()) == Kept("r", abandoned=True, answer=None)


async def test_names_and_users_are_apart_and_a_user_has_so_many(repeats: Repeats, attempt: Try) -> None:
    strangers = attempt("n1", user=str(uuid4()))
    assert await repeats.begin(strangers) is None
    for name in ("n1", "n2", "n3", "n4"):
        assert await repeats.begin(attempt(name)) is None
    assert await repeats.begin(attempt("n4")) is not None
    assert await repeats.begin(attempt("n1")) is None, "the oldest made room"
    assert await repeats.begin(attempt("n1", user=strangers.user)) is not None, "another user's did not"
