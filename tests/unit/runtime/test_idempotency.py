"""Idempotency-Keys at the HTTP server: what is one, and that repeated work is done once and answered alike."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web
from pydantic import BaseModel

from runtime.client_address import ClientAddresses
from runtime.endpoints import EndpointMistake, endpoint, endpoints_of
from runtime.guards import Guards
from runtime.http_server import HttpServer
from runtime.idempotency import Attempt, InvalidIdempotencyKey, Kept, RepeatsAway, digest, read_key
from runtime.idempotency_memory import MemoryRepeats
from runtime.limits_http import LimitKeeper
from runtime.limits_memory import MemoryLimiter
from runtime.openapi import openapi_document
from runtime.problems import Conflict, Forbidden, TooManyRequests
from runtime.settings import HttpSettings
from runtime.tokens import Caller
from tests.contract.held_client import Answer, HeldClient, held_client

KEY = "8e03978e-40d5-43dd-bc93-6894a57f9324"


class Deed(BaseModel):
    """What to do."""

    what: str


class Done(BaseModel):
    """How often it was done."""

    times: int


class DeedPath(BaseModel):
    """Where."""

    place: str


class Deeds:
    """Does what the body says, and remembers how often."""

    def __init__(self) -> None:
        self.times = 0
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()

    @endpoint("POST", "/deeds/{place}", status=201, problems=(Conflict, Forbidden, TooManyRequests), idempotent=True)
    async def do(self, caller: Caller, path: DeedPath, body: Deed) -> Done:
        """Do it."""
        self.times += 1
        self.begun.set()
        if body.what == "wait":
            await self.go_on.wait()
        refusals = {"conflict": Conflict, "forbidden": Forbidden, "too-often": TooManyRequests, "broken": LookupError}
        if body.what in refusals:
            raise refusals[body.what]("as asked")
        return Done(times=self.times)


class Names:
    """A token is a user's number."""

    async def verify(self, token: str) -> Caller:
        """Who it is."""
        return Caller(UUID(int=int(token)), token)


class AwayRepeats:
    """Keeps nothing."""

    async def begin(self, attempt: Attempt) -> Kept | None:
        """Be away."""
        raise RepeatsAway("gone")

    async def keep(self, attempt: Attempt, answer: bytes) -> None:
        """Be away."""
        raise RepeatsAway("gone")

    async def forget(self, attempt: Attempt) -> None:
        """Be away."""
        raise RepeatsAway("gone")


@pytest.fixture
async def deeds() -> Deeds:
    return Deeds()


def server_of(deeds: Deeds, repeats: Any) -> HttpServer:  # noqa: ANN401  any store of answers
    guards = Guards(LimitKeeper(MemoryLimiter({"api": 10_000}), ClientAddresses("")), repeats)
    return HttpServer([deeds], settings=HttpSettings(), verifier=Names(), guards=guards)


@pytest.fixture
async def client(deeds: Deeds) -> AsyncIterator[HeldClient]:
    async with held_client(server_of(deeds, MemoryRepeats()), [deeds]) as held:
        yield held


async def ask(client: HeldClient, what: str = "x", key: str = KEY, user: int = 1, place: str = "here") -> Answer:
    return await client.post(f"/deeds/{place}", token=str(user), json={"what": what}, headers={"Idempotency-Key": key})


async def test_a_repetition_gets_the_first_answer_and_does_nothing(client: HeldClient, deeds: Deeds) -> None:
    first, again = await ask(client), await ask(client)
    assert (first.status, first.content) == (again.status, again.content) == (201, b'{"times":1}')
    assert [answer.headers.get("Idempotency-Replayed") for answer in (first, again)] == [None, "true"]
    assert first.headers["Cache-Control"] == again.headers["Cache-Control"]
    assert (await ask(client, key=f'"{KEY}"')).body == first.body, "the draft's String is the same key"
    assert (await ask(client, key="other")).body == {"times": 2}
    assert (await ask(client, user=2)).body == {"times": 3}, "another user's same key is another key"
    assert deeds.times == 3


async def test_the_key_of_another_request_is_refused(client: HeldClient, deeds: Deeds) -> None:
    await ask(client)
    for other in (await ask(client, "y"), await ask(client, place="there")):
        assert (other.status, other.problem) == (422, "idempotency-key-reused")
    assert deeds.times == 1


async def test_many_at_once_do_it_once(client: HeldClient, deeds: Deeds) -> None:
    asking = [asyncio.create_task(ask(client, "wait")) for _ in range(20)]
    done, _ = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
    early = done.pop().result()
    assert (early.status, early.problem, early.headers["Retry-After"]) == (409, "idempotent-request-running", "1")
    deeds.go_on.set()
    answers = await asyncio.gather(*asking)
    assert deeds.times == 1
    assert {answer.status for answer in answers} <= {201, 409}
    assert [answer.status for answer in answers].count(201) >= 1
    assert (await ask(client, "wait")).body == {"times": 1}


@pytest.mark.parametrize(
    ("what", "status", "times"),
    [("conflict", 409, 1), ("forbidden", 403, 1), ("too-often", 429, 2), ("broken", 500, 2)],
)
async def test_refusals_are_kept_and_failures_are_tried_again(
    client: HeldClient, deeds: Deeds, what: str, status: int, times: int
) -> None:
    answers = [await ask(client, what) for _ in range(2)]
    assert [answer.status for answer in answers] == [status] * 2
    assert deeds.times == times
    assert (answers[0].content == answers[1].content) == (times == 1)


async def test_a_body_that_is_wrong_uses_no_key(client: HeldClient, deeds: Deeds) -> None:
    wrong = await client.post("/deeds/x", token="1", json={}, headers={"Idempotency-Key": KEY})
    assert wrong.status == 422
    assert (await ask(client)).status == 201


async def test_a_request_of_a_dead_process_is_not_done_again(deeds: Deeds) -> None:
    now = [0.0]
    async with held_client(server_of(deeds, MemoryRepeats(clock=lambda: now[0])), [deeds]) as client:
        dying = asyncio.create_task(ask(client, "wait"))
        await deeds.begun.wait()
        assert (await ask(client, "wait")).problem == "idempotent-request-running"
        now[0] = 61.0
        answer = await ask(client, "wait")
        assert (answer.status, answer.problem) == (409, "idempotent-outcome-unknown")
        now[0] = 86_401.0
        deeds.go_on.set()
        assert (await ask(client, "wait")).body == {"times": 2}, "a day later the key is forgotten"
        await dying


async def test_while_nothing_can_be_kept_only_requests_without_a_key_are_done(deeds: Deeds) -> None:
    async with held_client(server_of(deeds, AwayRepeats()), [deeds]) as client:
        answer = await ask(client)
        assert (answer.status, answer.problem, answer.headers["Retry-After"]) == (503, "idempotency-not-kept", "2")
        assert (await client.post("/deeds/x", token="1", json={"what": "x"})).body == {"times": 1}


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "ключ", "a b", "a,b", 'a"b', '"', '""', '"a', "a\\b", "é"])
async def test_what_is_no_key_is_refused_with_the_limit(client: HeldClient, deeds: Deeds, key: str) -> None:
    answer = await ask(client, key=key)
    assert (answer.status, answer.problem) == (400, "invalid-idempotency-key")
    assert "Idempotency-Key" in answer.body["detail"]
    assert "255" in answer.body["detail"]
    assert deeds.times == 0


def test_keys_are_read_with_and_without_quotes_and_once() -> None:
    assert [read_key([text]) for text in ("a", '"a"', " a ", "x" * 255)] == ["a", "a", "a", "x" * 255]
    with pytest.raises(InvalidIdempotencyKey):
        read_key(["a", "a"])


def test_digests_of_different_parts_differ() -> None:
    assert len({digest("ab", "c"), digest("a", "bc"), digest("abc"), digest("abc", "")}) == 4
    assert digest("a", "b") == digest(b"a", b"b")


def test_only_what_a_known_caller_changes_is_idempotent() -> None:
    class Reads:
        @endpoint("GET", "/x", idempotent=True)
        async def read(self, caller: Caller) -> None:
            """Read."""

    class Anybodys:
        @endpoint("POST", "/x", idempotent=True)
        async def write(self, caller: Caller | None) -> None:
            """Write."""

    class Streams:
        @endpoint("POST", "/x", idempotent=True)
        async def stream(self, caller: Caller) -> web.StreamResponse:
            """Stream."""
            return web.Response()

    for wrong in (Reads, Anybodys, Streams):
        with pytest.raises(EndpointMistake, match="idempotent"):
            endpoints_of(wrong)


def test_the_document_has_the_header_and_what_comes_of_it() -> None:
    operation: Any = openapi_document("t", [Deeds])["paths"]
    operation = operation["/deeds/{place}"]["post"]
    header = next(one for one in operation["parameters"] if one["in"] == "header")
    assert (header["name"], header["required"], header["schema"]["maxLength"]) == ("Idempotency-Key", False, 255)
    assert {"RateLimit", "RateLimit-Policy", "Retry-After"} <= set(operation["responses"]["429"]["headers"])
    assert {"RateLimit", "Idempotency-Replayed"} <= set(operation["responses"]["201"]["headers"])
