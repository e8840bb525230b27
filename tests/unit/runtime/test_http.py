"""The HTTP server: what is refused and how, what is traced, measured and drained; on a real socket."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, ClassVar
from uuid import UUID, uuid4

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import REGISTRY
from pydantic import BaseModel, Field
from structlog.testing import capture_logs

from runtime.endpoints import EndpointMistake, endpoint, endpoints_of
from runtime.health import Health
from runtime.http_server import TRACE_HEADER, HttpServer
from runtime.openapi import openapi_document
from runtime.pages import PageQuery
from runtime.problems import NotFound, TooManyRequests
from runtime.settings import HttpSettings
from runtime.tokens import Caller, InvalidToken, KeysUnavailable
from tests.contract.held_client import HeldClient, held_client

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class ThingNotFound(NotFound):
    """No such thing."""

    type = "thing-not-found"
    title = "There is no such thing"


class ThingPath(BaseModel):
    """Which."""

    thing_id: UUID


class ThingBody(BaseModel):
    """What."""

    name: str = Field(min_length=2, max_length=10)
    tags: list[str] = Field(default=[], max_length=3)


class ThingView(BaseModel):
    """How it is shown."""

    thing_id: UUID
    name: str
    by: str | None


class Things:
    """An API with one of each."""

    tag = "things"
    drained: ClassVar[list[str]] = []

    @endpoint("PUT", "/things/{thing_id}", status=201)
    async def put_thing(self, caller: Caller, path: ThingPath, body: ThingBody) -> ThingView:
        """Put a thing.

        It is not kept.
        """
        return ThingView(thing_id=path.thing_id, name=body.name, by=caller.name)

    @endpoint("GET", "/things/{thing_id}", problems=(ThingNotFound, TooManyRequests))
    async def get_thing(self, caller: Caller | None, path: ThingPath, query: PageQuery) -> ThingView:
        """Get a thing."""
        if query.limit == 1:
            raise ThingNotFound("it is not there", thing_id=str(path.thing_id))
        if query.limit == 2:
            raise TooManyRequests("slower", retry_after_seconds=7)
        return ThingView(thing_id=path.thing_id, name="x", by=caller.name if caller else None)

    @endpoint("DELETE", "/things/{thing_id}")
    async def delete_thing(self, path: ThingPath) -> None:
        """Delete a thing."""

    @endpoint("POST", "/maybe")
    async def maybe(self, body: ThingBody | None) -> None:
        """Take a body or none."""

    @endpoint("GET", "/mistake")
    async def mistake(self) -> ThingView:
        """Fail."""
        raise LookupError("a mistake")

    @endpoint("GET", "/away")
    async def away(self) -> ThingView:
        """Find the database gone."""
        raise ConnectionRefusedError("no database")

    @endpoint("GET", "/undeclared")
    async def undeclared(self) -> ThingView:
        """Refuse in an undeclared way."""
        raise ThingNotFound("surprise")

    @endpoint("GET", "/raw")
    async def raw(self, request: web.Request) -> web.StreamResponse:
        """Answer by hand."""
        return web.Response(text=request.method)

    @endpoint("GET", "/gateway")
    async def gateway(self) -> web.Response:
        """Fail by hand."""
        return web.Response(status=502)

    async def drain(self) -> None:
        """Hear of the end."""
        self.drained.append("told")


class Gate:
    """Lets `good` in."""

    async def verify(self, token: str) -> Caller:
        """Who it is."""
        if token == "keyless":
            raise KeysUnavailable("no keys")
        if token != "good":
            raise InvalidToken("not good")
        return Caller(UUID(int=7), "ann")


@pytest.fixture
async def client() -> AsyncIterator[HeldClient]:
    api = Things()
    server = HttpServer([api], settings=HttpSettings(), verifier=Gate(), request_body_bytes_max=2000)
    async with held_client(server, [api]) as held:
        yield held


THING = f"/things/{uuid4()}"


async def test_a_good_request_is_answered_by_its_model(client: HeldClient) -> None:
    answer = await client.put(THING, token="good", json={"name": "chair"})
    assert (answer.status, answer.body["name"], answer.body["by"]) == (201, "chair", "ann")
    assert answer.headers["Cache-Control"] == "no-store"
    assert (await client.delete(THING)).status == 204
    assert (await client.get(THING)).body["by"] is None
    assert (await client.get(THING, token="good")).body["by"] == "ann"


@pytest.mark.parametrize(
    ("content", "content_type", "status", "problem"),
    [
        (b'{"name":"chair"}', "text/plain", 415, "unsupported-media-type"),
        (b'{"name":"chair"}', "application/x-www-form-urlencoded", 415, "unsupported-media-type"),
        (b'{"name":"chair"}', "", 415, "unsupported-media-type"),
        (b'{"name":', "application/json", 400, "invalid-request"),
        (b"", "application/json", 400, "invalid-request"),
        (b"\xff\xfe", "application/json", 400, "invalid-request"),
        (b"[" * 1900, "application/json", 400, "invalid-request"),
        (b'{"name":"\\ud800', "application/json", 400, "invalid-request"),
        (b'{"name":"\xed\xa0\x80"}', "application/json", 400, "invalid-request"),  # no UTF-8
        (b'{"name":"\\ud800","tags":' + b"[" * 1800, "application/json", 400, "invalid-request"),
        (b'{"name":"\\ud83d\\ude00"}', "application/json", 422, "validation-failed"),  # one character, and too short
        (b"[]", "application/json", 422, "validation-failed"),
        (b'{"name":"x"}', "application/json", 422, "validation-failed"),
        (b'{"name":"x\\u0000y"}', "application/json", 422, "validation-failed"),
        (b'{"name":"xy","tags":["\\u0000"]}', "application/json", 422, "validation-failed"),
        (b'{"name":"' + b"x" * 2500 + b'"}', "application/json", 413, "payload-too-large"),
        (b'{"name":"a\\\\u0000b"}', "application/json", 201, ""),  # a backslash and u0000, not the character
        (b'{"name":"chair"}', "application/json; charset=utf-8", 201, ""),
    ],
)
async def test_bodies(client: HeldClient, content: bytes, content_type: str, status: int, problem: str) -> None:
    answer = await client.put(THING, token="good", data=content, headers={"Content-Type": content_type})
    assert answer.status == status
    assert status == 201 or answer.problem == problem


async def test_a_wrong_field_is_named_with_its_limit(client: HeldClient) -> None:
    answer = await client.put(THING, token="good", json={"name": "x", "tags": ["1", "2", "3", "4"]})
    assert answer.body["errors"] == [
        {"field": "body.name", "message": "String should have at least 2 characters"},
        {"field": "body.tags", "message": "List should have at most 3 items after validation, not 4"},
    ]
    query = await client.get(f"{THING}?limit=101")
    assert query.body["errors"] == [{"field": "query.limit", "message": "Input should be less than or equal to 100"}]
    path = await client.get("/things/seven")
    assert (path.status, path.body["errors"][0]["field"]) == (422, "path.thing_id")
    nul = await client.get(f"{THING}?cursor=%00")
    assert (nul.status, nul.body["errors"][0]["field"]) == (422, "query.cursor")
    twice = await client.get(f"{THING}?limit=3&limit=4")
    assert twice.status == 422


@pytest.mark.parametrize(
    ("content", "fields"),
    [
        (rb'{"name":"\ud800"}', ["body.name"]),
        (rb'{"name":"a\uDFFFb","tags":["x","\ud800\u0041"]}', ["body.name", "body.tags.1"]),
        (rb'{"\udc00":1,"name":"chair"}', ["body"]),
        (rb'{"unheard":{"' + b"x" * 900 + rb'":"\ud800"}}', [f"body.unheard.{'x' * 187}"]),
        (rb'["\ud800"]', ["body.0"]),
        (rb'{"tags":[' + rb'"\ud800",' * 99 + rb'""]}', [f"body.tags.{number}" for number in range(20)]),
    ],
)
async def test_half_a_character_is_refused_by_the_name_of_its_field(
    client: HeldClient, content: bytes, fields: list[str]
) -> None:
    answer = await client.put(THING, token="good", data=content, headers={"Content-Type": "application/json"})
    assert (answer.status, answer.problem) == (422, "validation-failed")
    assert [one["field"] for one in answer.body["errors"]] == fields


async def test_an_optional_body(client: HeldClient) -> None:
    assert (await client.post("/maybe")).status == 204
    assert (await client.post("/maybe", json={"name": "x"})).status == 422


async def test_the_caller_is_asked_for_first(client: HeldClient) -> None:
    for headers in ({}, {"Authorization": "Basic eDp5"}, {"Authorization": "Bearer"}, {"Authorization": "Bearer bad"}):
        answer = await client.put("/things/seven", json={}, headers=headers)
        assert (answer.status, answer.problem) == (401, "not-authenticated")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert (await client.get(THING, token="bad")).status == 401, "a wrong token is no anonymous caller"


async def test_without_keys_nobody_can_be_told_from_anybody(client: HeldClient) -> None:
    answer = await client.put(THING, token="keyless", json={"name": "chair"})
    assert (answer.status, answer.problem, answer.headers["Retry-After"]) == (503, "unavailable", "2")


async def test_a_domain_problem_keeps_its_facts(client: HeldClient) -> None:
    answer = await client.get(f"{THING}?limit=1")
    assert (answer.status, answer.problem, answer.body["detail"]) == (404, "thing-not-found", "it is not there")
    assert answer.body["thing_id"] == THING.rpartition("/")[2]
    slower = await client.get(f"{THING}?limit=2")
    assert (slower.status, slower.headers["Retry-After"]) == (429, "7")


async def test_no_such_path_or_method(client: HeldClient) -> None:
    nowhere = await client.get("/nowhere")
    assert (nowhere.status, nowhere.problem) == (404, "not-found")
    method = await client.post("/raw")
    assert (method.status, method.problem, method.headers["Allow"]) == (405, "method-not-allowed", "GET, HEAD")
    assert (await client.request("HEAD", "/raw")).status == 200
    assert (await client.request("PATCH", "/raw")).status == 405


async def test_a_mistake_of_ours_is_one_answer_and_one_line(client: HeldClient) -> None:
    with capture_logs() as lines:
        answer = await client.get("/mistake")
    assert (answer.status, answer.problem) == (500, "internal-error")
    assert "a mistake" not in answer.body["detail"].replace("this is a mistake of ours", "")
    (line,) = lines
    assert (line["event"], line["log_level"], line["route"]) == ("request_failed", "error", "/mistake")
    assert isinstance(line["exc_info"], LookupError)


async def test_a_dependency_that_is_away_is_503(client: HeldClient) -> None:
    with capture_logs() as lines:
        answer = await client.get("/away")
    assert (answer.status, answer.problem, answer.headers["Retry-After"]) == (503, "unavailable", "2")
    assert [line["log_level"] for line in lines] == ["warning"]


async def test_a_failure_that_a_handler_answers_itself_is_a_line_too(client: HeldClient) -> None:
    with capture_logs() as lines, pytest.raises(AssertionError, match="502, which is not declared"):
        await client.get("/gateway")
    assert [(line["event"], line["status"]) for line in lines] == [("request_failed", 502)]


async def test_the_held_client_fails_on_what_is_not_declared(client: HeldClient) -> None:
    with pytest.raises(AssertionError, match="404, which is not declared"):
        await client.get("/undeclared")


async def test_the_trace_of_the_caller_goes_on(client: HeldClient) -> None:
    answer = await client.get("/nowhere", headers={"traceparent": TRACEPARENT})
    assert answer.headers[TRACE_HEADER] == answer.body["trace_id"] == "0af7651916cd43dd8448eb211c80319c"


def _count(route: str, status: str) -> float:
    labels = {"method": "GET", "route": route, "status": status}
    return REGISTRY.get_sample_value("livestream_http_request_seconds_count", labels) or 0


async def test_requests_are_measured_by_template(client: HeldClient) -> None:
    before = _count("/things/{thing_id}", "200"), _count("unmatched", "404")
    await client.get(THING)
    await client.get("/nowhere/" + "x" * 100)
    after = _count("/things/{thing_id}", "200"), _count("unmatched", "404")
    assert after == (before[0] + 1, before[1] + 1)


async def test_health_and_metrics_are_on_the_same_port_and_the_end_is_told() -> None:
    health, away = Health(), ConnectionError("refused")
    reasons: list[Exception] = [away]

    def check() -> None:
        for reason in reasons:
            raise reason

    health.watch("postgres", check)
    api = Things()
    Things.drained.clear()
    server = HttpServer([api], settings=HttpSettings(http_port=0), verifier=Gate(), health=health)
    running = asyncio.create_task(server.run())
    origin = f"http://127.0.0.1:{await server.listening()}"
    async with aiohttp.ClientSession() as session:
        assert await _json(session, f"{origin}/livez") == (200, {"status": "live"})
        unready = {"status": "unready", "checks": {"postgres": "refused"}}
        assert await _json(session, f"{origin}/readyz") == (503, unready)
        reasons.clear()
        assert (await _json(session, f"{origin}/readyz"))[0] == 200
        async with session.get(f"{origin}/metrics") as answer:
            assert "livestream_http_request_seconds_bucket" in await answer.text()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert Things.drained == ["told"]
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(f"{origin}/livez")


async def _json(session: aiohttp.ClientSession, url: str) -> tuple[int, Any]:
    async with session.get(url) as answer:
        return answer.status, json.loads(await answer.read())


async def test_an_api_that_asks_for_callers_needs_a_verifier() -> None:
    with pytest.raises(TypeError, match="needs a verifier"):
        await HttpServer([Things()], settings=HttpSettings()).application()


def test_mistakes_in_a_declaration_are_told() -> None:
    class Odd:
        @endpoint("GET", "/odd/{thing_id}")
        async def odd(self, path: PageQuery) -> None:
            """Path and model differ."""

    class Odder:
        @endpoint("GET", "/odder")
        async def odder(self, whatever: str) -> None:
            """No request fills this."""

    class Oddest:
        @endpoint("GET", "/oddest")
        async def oddest(self) -> dict[str, str]:
            """No model."""
            return {}

    for api, message in ((Odd, "its path model"), (Odder, "no request fills"), (Oddest, "must answer with a model")):
        with pytest.raises(EndpointMistake, match=message):
            endpoints_of(api)


def test_the_document_is_the_same_every_time() -> None:
    assert json.dumps(openapi_document("t", [Things])) == json.dumps(openapi_document("t", [Things]))
