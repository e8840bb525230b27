"""Rate limits at the HTTP server: whom they count, what answers say, and what happens while nobody counts."""

import gc
import tracemalloc
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from prometheus_client import REGISTRY
from pydantic import BaseModel

from runtime.client_address import ClientAddresses, counted_address
from runtime.endpoints import endpoint
from runtime.guards import Guards
from runtime.http_server import HttpServer
from runtime.idempotency_memory import MemoryRepeats
from runtime.limits import API, LIMIT_MAX, LIMITS, LOGINS, STREAM_CREATIONS, Limit, Limiter, LimiterAway, Verdict
from runtime.limits_http import LimitKeeper
from runtime.limits_memory import MemoryLimiter
from runtime.settings import HttpSettings
from runtime.tokens import Caller, InvalidToken
from tests.contract.held_client import HeldClient, held_client

AMOUNTS = {"api": 3, "logins": 2, "stream-creations": 1}


class Empty(BaseModel):
    """Nothing."""


class Doors:
    """One endpoint for each limit."""

    @endpoint("GET", "/mine")
    async def mine(self, caller: Caller) -> Empty:
        """For people."""
        return Empty()

    @endpoint("GET", "/anybody")
    async def anybody(self) -> Empty:
        """For all."""
        return Empty()

    @endpoint("POST", "/login", limit=LOGINS)
    async def login(self, body: Empty) -> Empty:
        """Come in."""
        return Empty()

    @endpoint("POST", "/streams", limit=STREAM_CREATIONS)
    async def prepare(self, caller: Caller) -> Empty:
        """Prepare."""
        return Empty()

    @endpoint("GET", "/list", plain_is_free=True)
    async def list(self, caller: Caller | None) -> Empty:
        """Whatever is asked for."""
        return Empty()

    @endpoint("GET", "/free", limit=None)
    async def free(self) -> web.StreamResponse:
        """As often as one likes."""
        return web.Response()


class Names:
    """A token of one digit is a user's number."""

    async def verify(self, token: str) -> Caller:
        """Who it is."""
        if not token.isdigit():
            raise InvalidToken("no digit")
        return Caller(UUID(int=int(token)), token)


class Nobody:
    """Counts nothing."""

    async def take(self, limit: Limit, subject: str) -> Verdict:
        """Be away."""
        raise LimiterAway("gone")


def server_with(limiter: Limiter) -> HttpServer:
    guards = Guards(LimitKeeper(limiter, ClientAddresses("127.0.0.1")), MemoryRepeats())
    return HttpServer([Doors()], settings=HttpSettings(), verifier=Names(), guards=guards)


@pytest.fixture
async def client() -> AsyncIterator[HeldClient]:
    """All that is asked is asked in one moment."""
    async with held_client(server_with(MemoryLimiter(AMOUNTS, clock=lambda: 0.0)), [Doors()]) as held:
        yield held


def checked(limit: str, outcome: str) -> float:
    return REGISTRY.get_sample_value("livestream_limit_checks_total", {"limit": limit, "outcome": outcome}) or 0.0


async def test_answers_say_what_is_left_and_the_refusal_when_to_come_back(client: HeldClient) -> None:
    refused = checked("api", "refused")
    answers = [await client.get("/mine", token="1") for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["RateLimit"] for answer in answers] == [f'"api";r={left};t=60' for left in (2, 1, 0, 0)]
    assert {answer.headers["RateLimit-Policy"] for answer in answers} == {'"api";q=3;w=60'}
    last = answers[-1]
    assert (last.problem, last.headers["Retry-After"]) == ("too-many-requests", "60")
    assert (last.body["limit"], last.body["amount"], last.body["seconds"]) == ("api", 3, 60)
    assert checked("api", "refused") == refused + 1


async def test_people_are_counted_alone_wherever_they_are_and_others_by_address(client: HeldClient) -> None:
    async def status(path: str, address: str, token: str | None = None) -> int:
        return (await client.get(path, token=token, headers={"X-Forwarded-For": address})).status

    assert [await status("/mine", f"192.0.2.{n}", "1") for n in range(4)] == [200, 200, 200, 429]
    assert await status("/mine", "192.0.2.1", "2") == 200
    assert [await status("/anybody", "192.0.2.1") for _ in range(4)] == [200, 200, 200, 429]
    assert [await status("/anybody", f"2001:db8::{n}") for n in range(1, 5)] == [200, 200, 200, 429]
    assert await status("/anybody", "2001:db8:0:1::1") == 200


async def test_a_bad_token_counts_for_its_address(client: HeldClient) -> None:
    answers = [await client.get("/mine", token="bad") for _ in range(4)]
    assert [answer.status for answer in answers] == [401, 401, 401, 429]


async def test_requests_that_cannot_be_read_are_counted(client: HeldClient) -> None:
    answers = [await client.post("/login", data=b"{", headers={"Content-Type": "application/json"}) for _ in range(3)]
    assert [answer.status for answer in answers] == [400, 400, 429]
    assert answers[-1].body["limit"] == "logins"


async def test_limits_are_apart_and_some_paths_have_none(client: HeldClient) -> None:
    assert [(await client.post("/streams", token="1")).status for _ in range(2)] == [200, 429]
    assert (await client.get("/mine", token="1")).headers["RateLimit"] == '"api";r=2;t=60'
    for _ in range(10):
        answer = await client.get("/free")
        assert (answer.status, "RateLimit" in answer.headers) == (200, False)


async def test_where_the_plain_answer_is_free_only_what_has_a_query_or_a_token_is_counted(client: HeldClient) -> None:
    assert {(await client.get("/list")).status for _ in range(5)} == {200}
    assert [(await client.get(f"/list?tag={n}")).status for n in range(4)] == [200, 200, 200, 429]
    # the edge's cache passes tokens by, and each is verified
    assert [(await client.get("/list", token="1")).status for _ in range(4)] == [200, 200, 200, 429]
    assert (await client.get("/list", token="wrong")).status == 429, "counted by address, which had its three"
    assert (await client.get("/list")).status == 200


async def test_while_nobody_counts_all_passes_but_logins() -> None:
    async with held_client(server_with(Nobody()), [Doors()]) as client:
        assert [(await client.get("/mine", token="1")).status for _ in range(9)] == [200] * 9
        assert (await client.post("/streams", token="1")).status == 200
        answer = await client.post("/login", json={})
        assert (answer.status, answer.problem, answer.headers["Retry-After"]) == (503, "limits-not-kept", "2")


@pytest.mark.parametrize(
    ("remote", "forwarded", "counted"),
    [
        ("192.0.2.7", None, "192.0.2.7"),
        ("192.0.2.7", "203.0.113.1", "192.0.2.7"),  # said by somebody who is not believed
        ("127.0.0.1", "203.0.113.1", "203.0.113.1"),
        ("127.0.0.1", "6.6.6.6, 203.0.113.1", "203.0.113.1"),  # what stands further left may be invented
        ("127.0.0.1", "203.0.113.1, 10.1.2.3", "203.0.113.1"),
        ("127.0.0.1", "rubbish", "127.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "::ffff:203.0.113.1", "203.0.113.1"),
        ("127.0.0.1", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("127.0.0.1", "１.２.３.４", "127.0.0.1"),
        (None, "203.0.113.1", "unknown"),
    ],
)
def test_the_nearest_address_that_is_no_trusted_proxys_counts(
    remote: str | None, forwarded: str | None, counted: str
) -> None:
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    request = make_mocked_request("GET", "/", headers=headers).clone(remote=remote or "")
    assert ClientAddresses("127.0.0.1,10.0.0.0/8").of(request) == counted


def test_what_strangers_put_before_their_address_is_not_kept() -> None:
    addresses = ClientAddresses("127.0.0.1")
    tracemalloc.start()
    try:
        for number in range(20):
            forwarded = f"{number},{'x' * 100_000},203.0.113.1"
            request = make_mocked_request("GET", "/", headers={"X-Forwarded-For": forwarded}).clone(remote="127.0.0.1")
            assert addresses.of(request) == "203.0.113.1"
        del request, forwarded
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_peer_is_counted_by_its_address() -> None:
    assert [counted_address(text) for text in ("::ffff:1.2.3.4", "2001:db8::1", "")] == [
        "1.2.3.4",
        "2001:db8::/64",
        "unknown",
    ]


def test_a_proxy_that_is_no_address_is_refused_at_start() -> None:
    with pytest.raises(ValueError, match="edge"):
        ClientAddresses("edge")


def test_each_limit_is_a_setting_with_its_amount() -> None:
    fields = {name: field for name, field in HttpSettings.model_fields.items() if name.startswith("limit_")}
    assert {limit.field: limit.amount for limit in LIMITS} == {name: field.default for name, field in fields.items()}
    assert (API.amount, LOGINS.amount, STREAM_CREATIONS.amount) == (1_000, 10, 5)
    assert HttpSettings(limit_logins_per_minute=77).limit_amounts() == {
        "api": 1_000,
        "logins": 77,
        "stream-creations": 5,
    }
    for field in fields:
        for amount in (0, LIMIT_MAX + 1):
            with pytest.raises(ValueError, match=field):
                HttpSettings.model_validate({field: amount})
