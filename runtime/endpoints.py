"""Endpoints are declared once: the handler's own annotations are the routing, the validation and the OpenAPI document.

    class Streams:
        tag = "streams"

        @endpoint("POST", "/api/streams/{stream_id}/end", problems=(StreamNotFound, NotYourStream))
        async def end_stream(self, caller: Caller, path: StreamPath) -> StreamView:
            '''End a stream of one's own.'''

Parameters, all optional, are known by name: `caller` (`Caller`: login required; `Caller | None`: welcome), `path`,
`query`, `body` (pydantic models; `body: Model | None` may be absent) and `request` (aiohttp's own). The answer is a
model (JSON), a model that is encoded already (`Ready[Model]`, which caches may ask for again), None (204) or a
`web.StreamResponse` that the handler made itself.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from aiohttp import web
from pydantic import BaseModel

from runtime.idempotency import PROBLEMS as REPETITION_PROBLEMS
from runtime.idempotency import IdempotencyKeyReused, InvalidIdempotencyKey
from runtime.limits import API, Limit, LimitsNotKept
from runtime.pages import InvalidCursor, PageQuery
from runtime.problems import (
    InvalidRequest,
    NotAuthenticated,
    PayloadTooLarge,
    Problem,
    TooManyRequests,
    Unavailable,
    UnsupportedMediaType,
    ValidationFailed,
)
from runtime.ready import Ready
from runtime.tokens import Caller

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Handler = TypeVar("Handler", bound=Callable[..., Awaitable[Any]])

_DECLARATION = "__livestream_endpoint__"
_PARAMETERS = frozenset({"self", "caller", "path", "query", "body", "request"})


class EndpointMistake(TypeError):
    """A handler whose declaration does not make sense; raised when the API is put together."""


@dataclass(frozen=True)
class _Declaration:
    method: Method
    path: str
    problems: tuple[type[Problem], ...]
    status: int | None
    raw: bool
    tags: tuple[str, ...]
    headers: Mapping[str, str]
    limit: Limit | None
    plain_is_free: bool
    idempotent: bool | Literal["own"]


@dataclass(frozen=True)
class Endpoint:
    """One endpoint as its handler's signature tells it."""

    method: Method
    path: str
    name: str
    summary: str
    description: str
    tags: tuple[str, ...]
    status: int
    raw: bool
    headers: Mapping[str, str]
    limit: Limit | None
    plain_is_free: bool
    """Whether a request without a query and a token is not counted."""
    idempotent: bool | Literal["own"]
    problems: tuple[type[Problem], ...]
    caller: Literal["none", "optional", "required"]
    path_model: type[BaseModel] | None
    query_model: type[BaseModel] | None
    body_model: type[BaseModel] | None
    body_optional: bool
    takes_request: bool
    answer_model: type[BaseModel] | None
    ready: bool
    """Whether the answer comes encoded, with a tag: then it may also be 304."""

    def all_problems(self) -> tuple[type[Problem], ...]:
        """The declared problems and those that follow from the parameters, each once."""
        implied: list[type[Problem]] = [Unavailable]  # a dependency may be away on any path
        if self.caller != "none":
            implied += [NotAuthenticated, Unavailable]
        if self.path_model or self.query_model or self.body_model:
            implied.append(ValidationFailed)
        if self.query_model and issubclass(self.query_model, PageQuery):
            implied.append(InvalidCursor)
        if self.body_model:
            implied += [InvalidRequest, PayloadTooLarge, UnsupportedMediaType]
        if self.limit is not None:
            implied.append(TooManyRequests)
            if self.limit.away == "closed":
                implied.append(LimitsNotKept)
        if self.idempotent is True:
            implied += REPETITION_PROBLEMS
        elif self.idempotent == "own":
            implied += [InvalidIdempotencyKey, IdempotencyKeyReused]
        return tuple(dict.fromkeys([*self.problems, *implied]))


def endpoint(
    method: Method,
    path: str,
    *,
    problems: Sequence[type[Problem]] = (),
    status: int | None = None,
    raw: bool = False,
    tags: Sequence[str] = (),
    headers: Mapping[str, str] | None = None,
    limit: Limit | None = API,
    plain_is_free: bool = False,
    idempotent: bool | Literal["own"] = False,
) -> Callable[[Handler], Handler]:
    """Declare the decorated method as an endpoint.

    `problems` are the refusals it may raise; `status` is that of success (200, or 204 for None); `raw` keeps it out of
    the model checks; `headers` go with every success (`Cache-Control: no-store` unless given). `limit` is how often
    (None: as often as one likes); `plain_is_free` counts no request without a query and a token. `idempotent`
    takes an Idempotency-Key: a repetition gets the first answer again; with `"own"` the handler sees to that itself.
    """
    declaration = _Declaration(
        method, path, tuple(problems), status, raw, tuple(tags), dict(headers or {}), limit, plain_is_free, idempotent
    )

    def declare(handler: Handler) -> Handler:
        setattr(handler, _DECLARATION, declaration)
        return handler

    return declare


def endpoints_of(api: type) -> list[Endpoint]:
    """The endpoints of a class in the order of their definition; raises EndpointMistake."""
    found = []
    for function in _functions(api):
        declaration = getattr(function, _DECLARATION, None)
        if declaration is not None:
            found.append(_resolve(api, function, declaration))
    return found


def _functions(api: type) -> list[Callable[..., Any]]:
    functions: dict[str, Callable[..., Any]] = {}
    for base in reversed(api.__mro__):
        functions.update({name: value for name, value in vars(base).items() if inspect.isfunction(value)})
    return list(functions.values())


def _resolve(api: type, function: Callable[..., Any], declaration: _Declaration) -> Endpoint:
    where = f"{api.__name__}.{function.__name__}"
    hints = get_type_hints(function)
    answer = hints.pop("return", None)
    unknown = set(inspect.signature(function).parameters) - _PARAMETERS
    if unknown:
        raise EndpointMistake(f"{where} has parameters that no request fills: {sorted(unknown)}")
    ready = get_origin(answer) is Ready
    if ready:
        (answer,) = get_args(answer)
    raw = declaration.raw or _is(answer, web.StreamResponse)
    answer_model = answer if _is(answer, BaseModel) else None
    if not raw and answer_model is None and answer is not type(None):
        raise EndpointMistake(f"{where} must answer with a model, None or a web.StreamResponse, not {answer!r}")
    body_model, body_optional = _model(where, "body", hints)
    path_model, _ = _model(where, "path", hints)
    query_model, _ = _model(where, "query", hints)
    _check_path(where, declaration.path, path_model)
    if declaration.idempotent and (declaration.method == "GET" or raw or _caller(where, hints) != "required"):
        raise EndpointMistake(f"{where}: idempotent is for what a known caller changes, answered with a model or None")
    lines = (inspect.getdoc(function) or "").split("\n", 1)
    tag = getattr(api, "tag", None)
    return Endpoint(
        method=declaration.method,
        path=declaration.path,
        name=function.__name__,
        summary=lines[0].strip(),
        description=lines[1].strip() if len(lines) > 1 else "",
        tags=declaration.tags or ((tag,) if isinstance(tag, str) else ()),
        status=declaration.status or (204 if answer is type(None) else 200),
        raw=raw,
        headers=declaration.headers,
        limit=declaration.limit,
        plain_is_free=declaration.plain_is_free,
        idempotent=declaration.idempotent,
        problems=declaration.problems,
        caller=_caller(where, hints),
        path_model=path_model,
        query_model=query_model,
        body_model=body_model,
        body_optional=body_optional,
        takes_request="request" in hints,
        answer_model=answer_model,
        ready=ready,
    )


def _model(where: str, name: str, hints: Mapping[str, Any]) -> tuple[type[BaseModel] | None, bool]:
    hint = hints.get(name)
    if hint is None:
        return None, False
    options = [option for option in get_args(hint) if option is not type(None)] or [hint]
    if len(options) != 1 or not _is(options[0], BaseModel):
        raise EndpointMistake(f"{where}: `{name}` must be annotated with one pydantic model, not {hint!r}")
    return options[0], type(None) in get_args(hint)


def _caller(where: str, hints: Mapping[str, Any]) -> Literal["none", "optional", "required"]:
    hint = hints.get("caller")
    if hint is None:
        return "none"
    if hint is Caller:
        return "required"
    if set(get_args(hint)) == {Caller, type(None)}:
        return "optional"
    raise EndpointMistake(f"{where}: `caller` is annotated Caller or Caller | None, not {hint!r}")


def _check_path(where: str, path: str, model: type[BaseModel] | None) -> None:
    named = {part[1:-1].split(":")[0] for part in path.split("/") if part.startswith("{")}
    fields = set(model.model_fields) if model else set()
    if model and named != fields:
        raise EndpointMistake(f"{where}: {path} names {sorted(named)}, its path model {sorted(fields)}")


def _is(hint: object, kind: type) -> bool:
    return isinstance(hint, type) and issubclass(hint, kind)
