"""What decides where a read goes: tokens, lag from positions, the breaker, and tokens for many who write at once."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydantic import ValidationError

from runtime.postgres import Pool
from runtime.read_pool import ReadPool
from runtime.read_pool_lag import Breaker, PrimaryPositions
from runtime.read_pool_replica import Replica
from runtime.read_pool_token import (
    COOKIE,
    HEADER,
    Position,
    decode_position,
    encode_position,
    parse_lsn,
    shown_token,
    system_of,
)
from runtime.settings import ReadSettings

HERE = system_of(7_123_456_789)


@pytest.mark.parametrize("lsn", [0, 1, 0x16_B374D848, 2**64 - 1])
def test_a_token_says_the_position_and_fits_header_and_cookie(lsn: int) -> None:
    token = encode_position(Position(HERE, lsn))
    assert decode_position(token) == Position(HERE, lsn)
    assert shown_token({HEADER: token}) == shown_token({"Cookie": f"a=b; {COOKIE}={token}; c=d"}) == token


@pytest.mark.parametrize(
    "token", ["", "primary", "A" * 15, "A" * 17, "A" * 4_000, "!" * 16, "é" * 16, "A" * 15 + "=", "AAAA\nAAAAAAAAAAA"]
)
def test_what_is_no_token_has_no_position(token: str) -> None:
    assert decode_position(token) is None


@pytest.mark.parametrize(
    ("cookies", "token"),
    [(f"{COOKIE}=x", "x"), (f"x{COOKIE}=x", None), ("a=b", None), (f"a={COOKIE}", None), (f"a=b;{COOKIE}=", "")],
)
def test_only_our_cookie_is_a_token(cookies: str, token: str | None) -> None:
    assert shown_token({"Cookie": cookies}) == token


def test_positions_are_read_as_postgres_writes_them() -> None:
    assert parse_lsn("0/0") == 0
    assert parse_lsn("16/B374D848") == 0x16_B374D848


def test_a_replica_is_behind_since_there_was_something_that_it_lacks() -> None:
    primary = PrimaryPositions()
    for at_seconds, lsn in ((1.0, 100), (2.0, 100), (3.0, 200), (4.0, 300)):
        primary.note(at_seconds, lsn, HERE)
    lags = [primary.lag_seconds(replayed, 10.0) for replayed in (300, 299, 200, 100, 99, 999)]
    assert lags == [0, 6.0, 6.0, 7.0, 9.0, 0]


def test_an_idle_primary_leaves_nobody_behind_and_another_one_begins_anew() -> None:
    primary = PrimaryPositions()
    primary.note(0.0, 100, HERE)
    assert primary.lag_seconds(100, 1_000_000.0) == 0
    primary.note(5.0, 50, HERE)
    assert primary.lag_seconds(50, 6.0) == 0
    primary.note(7.0, 60, system_of(1))
    assert primary.lag_seconds(50, 8.0) == 1.0


def test_the_breaker_opens_at_once_and_closes_after_a_while_and_later_each_time() -> None:
    breaker = Breaker(healthy_seconds=3.0, healthy_seconds_max=20.0)
    assert breaker.state == "out"
    assert breaker.good(0.0), "nothing is held against a replica that was never out"
    assert breaker.bad(1.0, "behind")
    assert not breaker.bad(1.5, "behind")
    assert not breaker.good(2.0)
    assert not breaker.bad(4.0, "silent"), "it was out already, and its good time begins again"
    assert [breaker.good(at) for at in (5.0, 7.9, 8.0)] == [False, False, True]
    breaker.bad(9.0, "behind")
    assert [breaker.good(at) for at in (10.0, 15.9, 16.0)] == [False, False, True], "twice as long"
    breaker.bad(36.0, "behind")
    assert [breaker.good(at) for at in (40.0, 43.0)] == [False, True], "it did well for long in between"


class PrimaryTwin:
    """A primary that answers when it is told to, with a position that grows."""

    def __init__(self) -> None:
        self.asked = 0
        self.begun = asyncio.Event()
        self.free = asyncio.Event()

    async def fetchrow(self, *_: object, **__: object) -> dict[str, Any]:
        self.asked += 1
        number = self.asked
        self.begun.set()
        await self.free.wait()
        return {"lsn": f"0/{number:X}", "system": 1}


async def test_tokens_of_many_share_a_question_that_was_asked_after_they_came() -> None:
    primary = PrimaryTwin()
    reads = ReadPool(cast("Pool", primary), [cast("Replica", SimpleNamespace(name="r", in_use=False))])
    first = asyncio.create_task(reads.token())
    await primary.begun.wait()
    late = [asyncio.create_task(reads.token()) for _ in range(50)]
    await asyncio.sleep(0)
    primary.free.set()
    tokens = {await task for task in late}
    assert primary.asked == 2
    assert tokens == {encode_position(Position(system_of(1), 2))}, "the first answer may lack what they committed"
    assert await first == encode_position(Position(system_of(1), 1))


async def test_a_primary_that_does_not_say_where_it_is_gives_the_token_that_means_itself() -> None:
    reads = ReadPool(cast("Pool", PrimaryTwin()), [cast("Replica", SimpleNamespace(name="r", in_use=False))])
    token = await reads.token()
    assert token is not None
    assert decode_position(token) is None
    assert await ReadPool(cast("Pool", PrimaryTwin())).token() is None, "without replicas nobody needs one"


@pytest.mark.parametrize(
    ("dsns", "count"),
    [
        ("postgresql://u:p@a/d", 1),
        ("postgresql://u:p@a/d,postgresql://u:p,q@b:5433/d", 0),
        ("postgresql://u:p@a/d, postgres://u:p@b:5433/d", 2),
        ("postgresql://u:p@a,b/d", 0),
        ("http://a/d", 0),
        (",".join(["postgresql://u:p@a/d"] * 9), 0),
    ],
)
def test_replicas_are_one_server_each_and_few(dsns: str, count: int) -> None:
    given: dict[str, Any] = {"postgres_dsn": "postgresql://u:p@x/d", "postgres_replica_dsns": dsns}
    if count:
        assert len(ReadSettings(**given).replica_dsns) == count
    else:
        with pytest.raises(ValidationError) as error:
            ReadSettings(**given)
        assert "u:p" not in str(error.value)
