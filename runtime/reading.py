"""Reads a request as its endpoint declares it; what cannot be read is refused with a problem that says why."""

import json
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from runtime.endpoints import Endpoint
from runtime.problems import (
    FIELD_ERRORS_MAX,
    InvalidRequest,
    NotAuthenticated,
    Unavailable,
    UnsupportedMediaType,
    ValidationFailed,
)
from runtime.tokens import Caller, InvalidToken, KeysUnavailable, Verifier

M = TypeVar("M", bound=BaseModel)

NUL: Final = re.compile("\x00")
SURROGATE: Final = re.compile("[\ud800-\udfff]")
FIELD_CHARACTERS_MAX: Final = 200
"""Of a field's name in a refusal: names in a body can be anything."""


async def read_arguments(endpoint: Endpoint, request: web.Request, caller: Caller | None) -> dict[str, Any]:
    """The keyword arguments of the endpoint's handler; raises the Problem that refuses the request.

    The caller was read before: who is not let in learns nothing about what the fields should be.
    """
    arguments: dict[str, Any] = {}
    if endpoint.caller != "none":
        arguments["caller"] = caller
    if endpoint.path_model:
        arguments["path"] = _validated("path", endpoint.path_model, request.match_info)
    if endpoint.query_model:
        arguments["query"] = _validated("query", endpoint.query_model, _query(request))
    if endpoint.body_model:
        arguments["body"] = await _body(endpoint.body_model, request, optional=endpoint.body_optional)
    if endpoint.takes_request:
        arguments["request"] = request
    return arguments


async def read_caller(request: web.Request, verifier: Verifier | None, *, required: bool) -> Caller | None:
    """Who is calling, by the bearer token (RFC 6750 §2.1); raises NotAuthenticated, or Unavailable without keys."""
    header = request.headers.get("Authorization")
    if header is None:
        if required:
            raise NotAuthenticated("send an access token: `Authorization: Bearer …`")
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise NotAuthenticated("the Authorization header must be `Bearer` and an access token")
    if verifier is None:
        raise TypeError("an endpoint asks for the caller, but the server was made without a verifier")
    try:
        return await verifier.verify(token.strip())
    except InvalidToken as error:
        challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        raise NotAuthenticated(f"the access token is not valid: {error}", headers=challenge) from error
    except KeysUnavailable as error:
        raise Unavailable("access tokens cannot be verified right now", retry_after_seconds=2) from error


def _query(request: web.Request) -> dict[str, str | list[str]]:
    return {
        name: values[0] if len(values) == 1 else values
        for name in request.query
        for values in [request.query.getall(name)]
    }


def _validated(where: str, model: type[M], values: Mapping[str, str | list[str]]) -> M:
    for name, value in values.items():
        if NUL.search("".join(value)):
            raise _no_nul(f"{where}.{name}")
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise ValidationFailed.from_errors(where, error) from error


async def _body(model: type[M], request: web.Request, *, optional: bool) -> M | None:
    if optional and not request.body_exists:
        return None
    if request.content_type != "application/json":
        got = request.headers.get("Content-Type", "no content type")
        raise UnsupportedMediaType(f"the body must be application/json, not {got[:100]}")
    content = await request.read()
    if optional and not content:
        return None
    try:
        read = model.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise _not_json(content, first["msg"].removeprefix("Invalid JSON: ")) from error
        raise ValidationFailed.from_errors("body", error) from error
    if b"\\u0000" in content:  # what the model leaves out does no harm
        for field in _fields_with(NUL, read.model_dump(by_alias=True), "body"):
            raise _no_nul(field)
    return read


def _not_json(content: bytes, why: str) -> InvalidRequest:
    """What is wrong with a body that cannot be parsed: the fields' texts, if that is all of it."""
    if rb"\ud" in content.lower():
        try:
            fields = list(islice(_fields_with(SURROGATE, json.loads(content.decode()), "body"), FIELD_ERRORS_MAX))
        except (ValueError, RecursionError):
            fields = []  # there is more that is wrong
        if fields:
            return _no_surrogate(fields)
    return InvalidRequest(f"the body is not JSON: {why}")


def _fields_with(pattern: re.Pattern[str], value: object, field: str) -> Iterator[str]:
    """The fields in whose text, or in the names within, something is found; secrets aside, which are never stored."""
    # Recursion is bounded: the model's parser refuses documents nested deeper than about 200, Python's those that its
    # stack has no room for.
    if isinstance(value, str):
        if pattern.search(value):
            yield field
    elif isinstance(value, dict):
        for name, part in value.items():
            if isinstance(name, str) and pattern.search(name):
                yield field  # such a name cannot be said
            else:
                yield from _fields_with(pattern, part, f"{field}.{name}"[:FIELD_CHARACTERS_MAX])
    elif isinstance(value, list | tuple | set | frozenset):
        for number, part in enumerate(value):
            yield from _fields_with(pattern, part, f"{field}.{number}")


def _no_nul(field: str) -> ValidationFailed:
    # Postgres cannot store U+0000 in text; refused at the door, for all alike.
    message = "must not contain the character U+0000"
    return ValidationFailed(f"{field} {message}", errors=[{"field": field, "message": message}])


def _no_surrogate(fields: list[str]) -> ValidationFailed:
    # RFC 8259 §8.2: the escape can be written, but there is no such text, and no parser need take it.
    message = "must not contain half of a surrogate pair (U+D800 to U+DFFF)"
    return ValidationFailed(f"{fields[0]} {message}", errors=[{"field": one, "message": message} for one in fields])
