"""A test client that holds every answer to the OpenAPI document: what is not declared fails the test."""

import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from aiohttp import DummyCookieJar
from aiohttp.test_utils import TestClient, TestServer
from jsonschema import Draft202012Validator, FormatChecker

from runtime.http_server import TRACE_HEADER, HttpServer
from runtime.openapi import openapi_document

# Problems of the server itself, before any endpoint is found.
UNROUTED = frozenset({404, 405})

Anything: TypeAlias = Any  # whatever aiohttp's request takes


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: Any
    content: bytes = b""

    @property
    def problem(self) -> str:
        """The name of the problem, such as `not-found`."""
        urn: str = self.body["type"]
        return urn.removeprefix("urn:livestream:problem:")


def hold(
    document: Mapping[str, Any], operation: Mapping[str, Any], request: str, answer: Answer, content_type: str
) -> None:
    """Raise AssertionError unless the operation of the document declares this answer to the request."""
    declared = operation["responses"].get(str(answer.status))
    assert declared is not None, f"{request} answered {answer.status}, which is not declared: {answer.body}"
    content = declared.get("content")
    if content is None or request.startswith("HEAD "):
        return
    assert content_type in content, f"{request} answered {content_type}, declared {list(content)}"
    schema = {**content[content_type]["schema"], "components": document["components"]}
    errors = list(Draft202012Validator(schema, format_checker=FormatChecker()).iter_errors(answer.body))
    assert not errors, f"{request} {answer.status}: {errors[0].message} in {answer.body}"


class HeldClient:
    """Sends requests; each answer must be one that the document declares for its endpoint."""

    def __init__(self, client: "TestClient[Any, Any]", document: Mapping[str, Any]) -> None:
        self._client = client
        self._document = document
        self._routes = [(_pattern(path), operations) for path, operations in document["paths"].items()]

    async def request(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        **rest: Anything,
    ) -> Answer:
        """The answer; raises AssertionError when it is not as declared."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        async with self._client.request(method, path, headers=sent, allow_redirects=False, **rest) as response:
            content = await response.read()
            is_json = response.content_type.endswith("json") and content
            answer = Answer(response.status, response.headers, json.loads(content) if is_json else None, content)
        assert re.fullmatch("[0-9a-f]{32}", answer.headers[TRACE_HEADER]), "every answer names its trace"
        self._hold(method, path, answer, response.content_type)
        return answer

    async def get(self, path: str, **rest: Anything) -> Answer:
        """GET."""
        return await self.request("GET", path, **rest)

    async def post(self, path: str, **rest: Anything) -> Answer:
        """POST."""
        return await self.request("POST", path, **rest)

    async def put(self, path: str, **rest: Anything) -> Answer:
        """PUT."""
        return await self.request("PUT", path, **rest)

    async def delete(self, path: str, **rest: Anything) -> Answer:
        """DELETE."""
        return await self.request("DELETE", path, **rest)

    def _hold(self, method: str, path: str, answer: Answer, content_type: str) -> None:
        operation = self._operation(method, path)
        if operation is None:
            assert answer.status in UNROUTED, f"{method} {path} is in no document and answered {answer.status}"
            return
        hold(self._document, operation, f"{method} {path}", answer, content_type)

    def _operation(self, method: str, path: str) -> Mapping[str, Any] | None:
        plain = path.partition("?")[0]
        verb = "get" if method == "HEAD" else method.lower()
        for pattern, operations in self._routes:
            if pattern.fullmatch(plain) and verb in operations:
                operation: Mapping[str, Any] = operations[verb]
                return operation
        return None


@asynccontextmanager
async def held_client(
    server: HttpServer, apis: Sequence[object], *, keeps_cookies: bool = True
) -> AsyncIterator[HeldClient]:
    """A client of `server`, which serves `apis`, on an ephemeral port."""
    document = openapi_document("under test", [type(api) for api in apis])
    cookie_jar = None if keeps_cookies else DummyCookieJar()
    async with TestClient(TestServer(await server.application()), cookie_jar=cookie_jar) as client:
        yield HeldClient(client, document)


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{[^/]+\\\}", "[^/]+", re.escape(path)))
