"""The HTTP side of a process: endpoints, problems, traces, metrics, health and a graceful end, on one port."""

import asyncio
import errno
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from pydantic_core import to_json

from runtime import metrics
from runtime.endpoints import Endpoint, endpoints_of
from runtime.guards import Guards
from runtime.health import Health
from runtime.idempotency import HEADER
from runtime.idempotency_http import answer_once
from runtime.limits_http import name_limit
from runtime.problems import (
    CONTENT_TYPE,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    NotAuthenticated,
    NotFound,
    PayloadTooLarge,
    Problem,
    Unavailable,
)
from runtime.read_pool_http import ReadsAfterWrites, give_token, reading_for
from runtime.reading import read_arguments, read_caller
from runtime.ready import Ready
from runtime.service import CannotServe
from runtime.settings import HttpSettings
from runtime.tokens import Caller, Verifier
from runtime.trace import current_trace, trace_scope
from runtime.unavailable import is_unavailable

log = structlog.get_logger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

KEEPALIVE_TIMEOUT_SECONDS = 75.0  # also how long a client may take to send a request's head
BACKLOG_CONNECTIONS_MAX = 1024
DRAIN_SHARE_OF_GRACE = 0.75  # what is left of the grace closes pools and flushes what the requests started
TRACE_HEADER = "X-Request-Id"  # the bare trace id, as the log lines have it

_TRACE_ID = web.RequestKey("trace_id", str)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_STOCK: dict[int, type[Problem]] = {
    404: NotFound,
    405: MethodNotAllowed,
    413: PayloadTooLarge,
}


class HttpServer:
    """A Service that answers for `apis`, objects whose methods are declared with `@endpoint`.

    An api that has `async def drain(self)` is told when the server stops taking connections: the moment to end
    WebSockets and event streams. `/livez`, `/readyz` and `/metrics` are on the same port; the edge does not pass them
    on. Without `guards` (in tests) nothing is counted and no Idempotency-Key is kept.
    """

    name = "http-server"

    def __init__(
        self,
        apis: Sequence[object],
        *,
        settings: HttpSettings,
        verifier: Verifier | None = None,
        health: Health | None = None,
        guards: Guards | None = None,
        reads: ReadsAfterWrites | None = None,
        request_body_bytes_max: int = 65_536,
    ) -> None:
        self._apis = apis
        self._settings = settings
        self._verifier = verifier
        self._health = health or Health()
        self._guards = guards
        self._reads = reads
        self._request_body_bytes_max = request_body_bytes_max
        self._listening: asyncio.Event = asyncio.Event()
        self._leaving = False
        self.port: int | None = None

    async def application(self) -> web.Application:
        """The aiohttp application; test clients serve it themselves."""
        application = web.Application(middlewares=[_edge], client_max_size=self._request_body_bytes_max)
        application.on_response_prepare.append(_name_trace)
        application.on_response_prepare.append(name_limit)
        for api in self._apis:
            for endpoint in endpoints_of(type(api)):
                self._add(application, endpoint, getattr(api, endpoint.name))
        application.on_shutdown.append(self._drain)
        application.router.add_get("/livez", _livez)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/metrics", _metrics)
        return application

    async def run(self) -> None:
        """Listen until cancelled; then take no more, let running requests finish within the grace, and end."""
        runner = web.AppRunner(
            await self.application(),
            access_log=None,
            keepalive_timeout=KEEPALIVE_TIMEOUT_SECONDS,
            shutdown_timeout=self._settings.stop_grace_seconds * DRAIN_SHARE_OF_GRACE,
        )
        await runner.setup()
        try:
            site = web.TCPSite(
                runner, self._settings.http_host, self._settings.http_port, backlog=BACKLOG_CONNECTIONS_MAX
            )
            try:
                await site.start()
            except OSError as error:
                raise CannotServe(self._not_listening(error)) from error
            self.port = site.port
            self._listening.set()
            log.info("http_listening", host=self._settings.http_host, port=self.port)
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()
            log.info("http_drained")

    def _not_listening(self, error: OSError) -> str:
        address = f"{self._settings.http_host}:{self._settings.http_port}"
        variables = "LIVESTREAM_HTTP_HOST and LIVESTREAM_HTTP_PORT name the address"
        if error.errno == errno.EADDRINUSE:
            return f"{address} is in use: end what listens there, or choose another ({variables})"
        return f"cannot listen on {address}: {error.strerror or error} ({variables})"

    async def farewell(self, notice_seconds: float) -> None:
        """Be unready for so long, while all goes on, that nobody sends new clients; then have the APIs drain.

        For `supervise`: whoever is asked to leave is still served until it has left.
        """
        self._leaving = True
        await asyncio.sleep(notice_seconds)
        await self._drain_apis()

    async def listening(self) -> int:
        """Wait until the port is open; the answer is its number (settings may ask for any free one)."""
        await self._listening.wait()
        assert self.port is not None  # noqa: S101  set just before the event
        return self.port

    def _add(self, application: web.Application, endpoint: Endpoint, method: Callable[..., Awaitable[Any]]) -> None:
        headers = {"Cache-Control": "no-store", **endpoint.headers}
        if endpoint.caller != "none" and self._verifier is None:
            raise TypeError(f"{endpoint.name} asks for the caller: the server needs a verifier")

        async def handle(request: web.Request) -> web.StreamResponse:
            caller = await self._admitted(endpoint, request)
            arguments = await read_arguments(endpoint, request, caller)
            with reading_for(endpoint, request):
                if endpoint.idempotent is True and HEADER in request.headers and self._guards and caller:
                    work = partial(_worked, endpoint, headers, method, request, arguments)
                    answer: web.StreamResponse = await answer_once(
                        self._guards.repeats, endpoint, request, caller, work
                    )
                else:
                    answer = _answer(endpoint, headers, request, await method(**arguments))
            await give_token(endpoint, answer, self._reads)
            return answer

        if endpoint.method == "GET":
            application.router.add_get(endpoint.path, handle, allow_head=True)
        else:
            application.router.add_route(endpoint.method, endpoint.path, handle)

    async def _admitted(self, endpoint: Endpoint, request: web.Request) -> Caller | None:
        """Who is calling, within the endpoint's limit; whoever is refused for their token counts as their address."""
        caller, refused = None, None
        if endpoint.caller != "none":
            try:
                caller = await read_caller(request, self._verifier, required=endpoint.caller == "required")
            except NotAuthenticated as error:
                refused = error
        free = endpoint.plain_is_free and not request.query_string and "Authorization" not in request.headers
        if self._guards is not None and endpoint.limit is not None and not free:
            await self._guards.limits.admit(endpoint.limit, request, caller)
        if refused is not None:
            raise refused
        return caller

    async def _drain(self, _application: web.Application) -> None:
        await self._drain_apis()

    async def _drain_apis(self) -> None:
        # At once: nobody's goodbyes wait for those of another API.
        drains = [getattr(api, "drain", None) for api in self._apis]
        await asyncio.gather(*(drain() for drain in drains if drain is not None))

    async def _readyz(self, _request: web.Request) -> web.Response:
        reasons = await self._health.reasons()
        if self._leaving:
            reasons["leaving"] = "this process is about to stop"
        unready = {name: reason for name, reason in reasons.items() if reason is not None}
        checks = {name: reason or "ready" for name, reason in reasons.items()}
        body = {"status": "unready" if unready else "ready", "checks": checks}
        return _json(503 if unready else 200, body, {"Cache-Control": "no-store"})


async def _worked(
    endpoint: Endpoint,
    headers: Mapping[str, str],
    method: Callable[..., Awaitable[Any]],
    request: web.Request,
    arguments: Mapping[str, Any],
) -> web.Response:
    """The answer of an endpoint, refusals included, whole: one that can be kept."""
    try:
        response = _answer(endpoint, headers, request, await method(**arguments))
    except Problem as problem:
        if problem.status >= 500:
            raise
        return _problem_response(problem)
    if not isinstance(response, web.Response):
        raise TypeError(f"{endpoint.name} is declared idempotent and streams its answer")
    return response


def _answer(endpoint: Endpoint, headers: Mapping[str, str], request: web.Request, answer: object) -> web.StreamResponse:
    if endpoint.ready:
        if not isinstance(answer, Ready):
            raise TypeError(f"{endpoint.name} is declared to answer Ready and answered {type(answer).__name__}")
        return answer.answer(request, endpoint.status, headers, by_caller=endpoint.caller != "none")
    if endpoint.raw:
        if not isinstance(answer, web.StreamResponse):
            raise TypeError(f"{endpoint.name} is declared raw and answered with {type(answer).__name__}")
        return answer
    if endpoint.answer_model is None:
        if answer is not None:
            raise TypeError(f"{endpoint.name} is declared to answer nothing and answered {type(answer).__name__}")
        return web.Response(status=endpoint.status, headers=headers)
    if not isinstance(answer, endpoint.answer_model):
        raise TypeError(f"{endpoint.name} is declared to answer {endpoint.answer_model.__name__}")
    return _json(endpoint.status, answer, headers)


def _json(status: int, body: BaseModel | Mapping[str, Any], headers: Mapping[str, str]) -> web.Response:
    content = body.model_dump_json().encode() if isinstance(body, BaseModel) else to_json(body)
    return web.Response(status=status, body=content, content_type="application/json", headers=headers)


@web.middleware
async def _edge(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What holds for every request: its trace, its errors as problems, its metrics, its one line on failure."""
    started = time.perf_counter()
    with trace_scope(request.headers.get("traceparent")) as trace:
        request[_TRACE_ID] = trace.trace_id
        try:
            response = await handler(request)
            if response.status >= 500 and _route(request) != "/readyz":
                _log_failed(request, response.status, "answered so by its handler", None)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            response = _problem_response(_translated(error))
        except Problem as problem:
            if problem.status >= 500:
                _log_failed(request, problem.status, problem.detail, problem.__cause__)
            response = _problem_response(problem)
        except Exception as error:  # noqa: BLE001  the server supervises requests: any error is one answer and one line
            response = _problem_response(_failed(request, error))
        _observe(request, response, time.perf_counter() - started)
        return response


def _translated(error: web.HTTPException) -> Problem:
    kind = _STOCK.get(error.status)
    if kind is None:
        problem: Problem = InvalidRequest(error.text or error.reason)
        return problem
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return MethodNotAllowed(f"{error.method[:20]} is not among {allowed}", headers={"Allow": allowed})
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return PayloadTooLarge(error.text or "the body is too large")
    return kind("no such path")


def _failed(request: web.Request, error: Exception) -> Problem:
    if is_unavailable(error):
        _log_failed(request, 503, f"{type(error).__name__}: {error}", None)
        return Unavailable("something this needs did not answer; try again", retry_after_seconds=2)
    _log_failed(request, 500, f"{type(error).__name__}: {error}", error)
    return InternalError("this is a mistake of ours; the trace id leads to it")


def _log_failed(request: web.Request, status: int, reason: str, error: BaseException | None) -> None:
    say = log.error if status == 500 else log.warning
    say("request_failed", method=request.method, route=_route(request), status=status, reason=reason, exc_info=error)


def _problem_response(problem: Problem) -> web.Response:
    trace = current_trace()
    content = to_json(problem.body(trace.trace_id if trace else None))
    headers = {"Cache-Control": "no-store", **problem.headers}
    return web.Response(status=problem.status, body=content, content_type=CONTENT_TYPE, headers=headers)


def _observe(request: web.Request, response: web.StreamResponse, seconds: float) -> None:
    if isinstance(response, web.WebSocketResponse) or response.content_type == "text/event-stream":
        return  # they last as long as people stay
    method = request.method if request.method in _METHODS else "other"
    metrics.http_request_seconds.labels(method, _route(request), str(response.status)).observe(seconds)


def _route(request: web.Request) -> str:
    # The template, never the path: paths hold ids (and hooks a secret), and a label must have few values.
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "unmatched"


async def _name_trace(request: web.Request, response: web.StreamResponse) -> None:
    # A signal and not the middleware, since event streams and WebSockets send their head inside the handler.
    response.headers[TRACE_HEADER] = request[_TRACE_ID]


async def _livez(_request: web.Request) -> web.Response:
    return _json(200, {"status": "live"}, {"Cache-Control": "no-store"})


async def _metrics(_request: web.Request) -> web.Response:
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
