"""Bad input for every field of every endpoint: refused by the name of the field, or harmless, and never a server error.

What is sent follows from the document (`bad_values`): values of the wrong type, too long, out of range, and texts that
upset programs. Then what is wrong with whole requests, what is somebody else's, and what is said twice.
"""

import json
from collections.abc import Mapping
from urllib.parse import quote, urlencode
from uuid import uuid4

import pytest
from yarl import URL

from runtime.idempotency import KEY_CHARACTERS_MAX, REPLAYED_HEADER
from tests.contract.bad_values import Bad, Document, Field, bad_values, with_value
from tests.contract.documents import whole_document
from tests.contract.held_client import Answer, hold
from tests.contract.successes import SUCCESSES, Success
from tests.contract.world import World, push_subscription

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOCUMENT = Document(whole_document())
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, methods in DOCUMENT.content["paths"].items()
    for method, operation in methods.items()
}
ENDLESS = {"GET /api/notifications/live": "an event stream: it stays open as long as the client does"}
TRIED = OPERATIONS.keys() - ENDLESS.keys()
IDEMPOTENT = [label for label in OPERATIONS if "Idempotency-Key" in json.dumps(OPERATIONS[label])]
UNREAD = [
    label
    for label, operation in OPERATIONS.items()
    if "requestBody" not in operation and (label.startswith("POST /hooks/") or "413" in operation["responses"])
]
"""Endpoints that take no JSON that the document describes: files, and what media servers post."""
NO_FILES = (
    b"\xff\xfe\x00",
    b"\x89PNG\r\n\x1a\n" + b"\x00" * 64,
    b"WEBVTT\n\n\xff",
    b"a=%00&a=%ff",
    b"[" * 9_000,
    b"a" * 70_000,
)
OPEN_TO_ALL: dict[str, str] = {
    "GET /api/follows/{channel_id}": "the following is the caller's own",
    "PATCH /api/follows/{channel_id}": "the following is the caller's own",
    "PUT /api/users/{user_id}/followers/me": "anybody follows anybody",
    "DELETE /api/users/{user_id}/followers/me": "the following is the caller's own",
    "PUT /api/users/me/blocks/{user_id}": "the list is the caller's own",
    "DELETE /api/users/me/blocks/{user_id}": "the list is the caller's own",
    "PUT /api/chat/{channel_id}/polls/{poll_id}/votes": "the vote is the caller's own",
}
"""What somebody else may do as well, although it names a thing of its owner, and why."""
NEVER_RIGHT: dict[str, str] = {
    "GET /api/notifications/email/unsubscribe": "the token comes by mail",
    "POST /api/notifications/email/unsubscribe": "the token comes by mail",
    "GET /api/notifications/socket": "a socket",
    "GET /chat": "a socket",
    "GET /chat/irc": "a socket",
    "POST /hooks/ingest/nginx-rtmp/{secret}": "a form that the document does not describe",
    "POST /hooks/segments/srs/{secret}": "JSON that the document does not describe",
}
"""Endpoints that no request of these tests satisfies, and why."""
NO_BODIES: Mapping[bytes, set[int]] = {
    b"{": {400},
    b"": {400, 415, 422},
    b"[]": {422},
    b"null": {422},
    b'"text"': {422},
    b"\xff\xfe": {400},
    b"[" * 20_000: {400},
    b'{"a":' * 5_000: {400},
    b'{"a": "' + b"a" * 70_000 + b'"}': {413},
}
WITHOUT_NAMES = {400: "a cursor, which names itself, or a query that is no text", 413: "not read to its end"}
"""Refusals that name no field, and why."""

KNOWN: Mapping[str, object] = {
    "password": "not the password",
    "url": "http://127.0.0.1:1/other",
    "address": "somebody@example.org",
    "language": "en",
    "cursor": None,
    "timezone": "Europe/Berlin",
    "options": ["one", "two"],
    **push_subscription(),
}
"""Values of fields about which the document does not say everything."""


class Sender:
    """Sends requests to an endpoint that are right but for one thing, and holds the answers to the document."""

    def __init__(self, world: World, label: str) -> None:
        self._world = world
        self.label = label
        self.method, _, self.template = label.partition(" ")
        self.operation = OPERATIONS[label]
        self.path = {name: str(value) for name, value in world.path_values(self.template).items()}
        schema = DOCUMENT.body(self.operation)
        self.body = None if schema is None else DOCUMENT.example(schema, KNOWN)
        self.query = {
            one["name"]: str(DOCUMENT.example(one["schema"], KNOWN, one["name"]))
            for one in self.operation.get("parameters", [])
            if one["in"] == "query" and one["required"]
        }

    async def send_bad(self, field: Field, bad: Bad) -> Answer:
        """A request with the bad value in the field."""
        if field.place == "body":
            return await self.send(json.dumps(with_value(self.body, field.steps, bad.value)).encode())
        name, text = str(field.steps[0]), str(bad.value)
        if field.place == "path":
            return await self.send(path={**self.path, name: text})
        return await self.send(query={**self.query, name: text})

    async def send(
        self,
        content: bytes | None = None,
        *,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, str] | str | None = None,
        headers: Mapping[str, str] | None = None,
        who: str = "owner",
    ) -> Answer:
        """The answer, held to the document."""
        if content is None and self.body is not None:
            content = json.dumps(self.body).encode()
        address = self.template
        for name, value in (path or self.path).items():
            address = address.replace(f"{{{name}}}", quote(value, safe="", errors="surrogatepass"))
        asked = query if isinstance(query, str) else urlencode(query or self.query, errors="surrogatepass")
        kind = {"Content-Type": "application/json"} if content is not None else {}
        async with self._world.session.request(
            self.method,
            URL(f"{self._world.solo.url}{address}?{asked}", encoded=True),
            data=content,
            headers={**kind, **self._world.people[who].headers, **(headers or {})},
            allow_redirects=False,
        ) as response:
            received = await response.read()
            is_json = response.content_type.endswith("json") and received
            answer = Answer(response.status, response.headers, json.loads(received) if is_json else None, received)
            said = f"{self.method} {address[:200]}?{asked[:200]} {(content or b'')[:200]!r}"
            assert answer.status < 500, f"{said}: {answer.body}"
            if "//" not in address and not address.endswith("/"):  # which is another path
                hold(DOCUMENT.content, self.operation, self.label, answer, response.content_type)
            return answer


@pytest.mark.parametrize("label", sorted(TRIED))
async def test_every_field_refuses_by_its_name_or_takes_what_is_sent(label: str, world: World) -> None:
    sender = Sender(world, label)
    wrong = []
    for field in DOCUMENT.fields(sender.operation):
        for bad in bad_values(field):
            answer = await sender.send_bad(field, bad)
            complaint = _complaint(field, bad, answer)
            if complaint:
                wrong.append(f"{field.name}, {bad.why}: {complaint}")
    assert not wrong, f"{label}:\n" + "\n".join(wrong)


def _complaint(field: Field, bad: Bad, answer: Answer) -> str:
    if answer.status == 422 and "errors" in answer.body:
        named = [one["field"] for one in answer.body["errors"]]
        about_it = any(_is_about(field.name, one) for one in named)
        return "" if about_it else f"refused for {named}"
    if field.place == "body" and answer.status == 400:
        return f"the refusal names no field: {answer.body['detail']}"
    if bad.refused and answer.status not in WITHOUT_NAMES:
        return f"{answer.status}, not refused: {str(answer.body)[:100]}"
    return ""


def _is_about(field: str, named: str) -> bool:
    return named == field or named.startswith(f"{field}.") or field.startswith(f"{named}.")


@pytest.mark.parametrize("label", sorted(TRIED - OPEN_TO_ALL.keys()))
async def test_what_is_somebody_elses_is_theirs(label: str, world: World) -> None:
    """Also holds that the tests call right what is right: else they would look at refusals of something else."""
    answer = await Sender(world, label).send(who="stranger")
    assert answer.status not in {400, 413, 415, 422} or label in NEVER_RIGHT, answer.body
    if "{" in label and OPERATIONS[label].get("security") == [{"bearer": []}]:
        assert answer.status in {403, 404}, answer.body


@pytest.mark.parametrize("label", sorted(OPEN_TO_ALL))
async def test_what_is_open_to_all_is_right(label: str, world: World) -> None:
    answer = await Sender(world, label).send(who="stranger")
    assert answer.status < 400 or answer.status in {404, 409}, answer.body


@pytest.mark.parametrize("label", [label for label in OPERATIONS if "requestBody" in OPERATIONS[label]])
async def test_bodies_that_are_none_are_refused(label: str, world: World) -> None:
    sender = Sender(world, label)
    for content, statuses in NO_BODIES.items():
        answer = await sender.send(content)
        needed = OPERATIONS[label]["requestBody"]["required"] or content
        assert answer.status in statuses or not needed, (content[:20], answer.body)
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "x"):
        answer = await sender.send(headers={"Content-Type": kind})
        assert answer.status == 415, (kind, answer.body)


@pytest.mark.parametrize("label", UNREAD)
async def test_bytes_that_are_nothing_do_no_harm(label: str, world: World) -> None:
    for content in NO_FILES:
        for kind in ("application/octet-stream", "application/x-www-form-urlencoded", "application/json"):
            await Sender(world, label).send(content, headers={"Content-Type": kind})


@pytest.mark.parametrize("label", [label for label in OPERATIONS if '"query"' in json.dumps(OPERATIONS[label])])
async def test_a_query_that_says_a_thing_twice_is_refused_or_taken_once(label: str, world: World) -> None:
    sender = Sender(world, label)
    for field in DOCUMENT.fields(sender.operation):
        if field.place == "query":
            name = str(field.steps[0])
            answer = await sender.send(query=urlencode([*sender.query.items(), (name, "1"), (name, "2")]))
            assert answer.status == 422, answer.body
            assert f"query.{name}" in [one["field"] for one in answer.body["errors"]]


@pytest.mark.parametrize("label", IDEMPOTENT)
async def test_a_success_is_said_again_and_not_done_again(label: str, world: World) -> None:
    success = SUCCESSES[label]
    ready = await success.prepare(world)
    sender = Sender(world, label)
    sender.path.update(ready.path)
    sender.body = ready.body or sender.body
    key = {"Idempotency-Key": f'"{uuid4()}"'}
    before = await world.execute(success.trace)
    first = await sender.send(headers=key)
    done = await world.execute(success.trace)
    assert (first.status, done != before) == (int(min(OPERATIONS[label]["responses"])), True), first.body
    again = await sender.send(headers=key)
    other = await sender.send(_another(sender.body), headers=key)
    assert (again.status, _said(again, success)) == (first.status, _said(first, success))
    assert (other.status, other.problem) == (422, "idempotency-key-reused")
    assert await world.execute(success.trace) == done
    if success.said is None:
        assert (REPLAYED_HEADER in first.headers, again.headers.get(REPLAYED_HEADER)) == (False, "true")


@pytest.mark.parametrize("label", IDEMPOTENT)
async def test_keys_that_are_none_are_refused(label: str, world: World) -> None:
    sender = Sender(world, label)
    for bad in ("", "a" * (KEY_CHARACTERS_MAX + 1), "two, of them", "caf\u00e9", '"'):
        refused = await sender.send(headers={"Idempotency-Key": bad})
        assert (refused.status, refused.problem) == (400, "invalid-idempotency-key"), bad


def _another(body: object) -> bytes:
    """Another request, as good as this: another body where it has one, else one where it has none."""
    changed = {"title": "Another", "text": "another", "term": "another", "question": "Another?", "to_seconds": 2}
    changed["since"] = "2024-06-01T12:00:00Z"
    if not isinstance(body, dict):
        return b"{}"
    fields = {name: value for name, value in changed.items() if name in body}
    assert fields, f"which field of {body} may change?"
    return json.dumps({**body, **fields}).encode()


def _said(answer: Answer, success: Success) -> object:
    return answer.body if success.said is None else answer.body[success.said]
