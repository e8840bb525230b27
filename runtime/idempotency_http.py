"""Does an endpoint's work once for all repetitions of a request with the same Idempotency-Key."""

import json
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable
from secrets import token_hex

import structlog
from aiohttp import web

from runtime import metrics
from runtime.endpoints import Endpoint
from runtime.idempotency import (
    ANSWER_BYTES_MAX,
    HEADER,
    REPLAYED_HEADER,
    RUNNING_SECONDS_MAX,
    Attempt,
    IdempotencyKeyReused,
    IdempotencyNotKept,
    Kept,
    OutcomeUnknown,
    Repeats,
    RepeatsAway,
    StillRunning,
    digest,
    read_key,
)
from runtime.tokens import Caller

log = structlog.get_logger(__name__)

AWAY_RETRY_SECONDS = 2
# Of an answer's head: the rest is about the connection, the trace or the moment.
KEPT_HEADERS = ("Content-Type", "Cache-Control", "Location", "ETag", "Link")


async def answer_once(
    repeats: Repeats,
    endpoint: Endpoint,
    request: web.Request,
    caller: Caller,
    work: Callable[[], Awaitable[web.Response]],
) -> web.Response:
    """The work's answer, or the one that it had when the same request came before; raises the problems of PROBLEMS.

    Server errors and refusals that say when to come back are not kept: the next repetition tries again.
    """
    attempt = await _attempt(endpoint, request, caller)
    try:
        kept = await repeats.begin(attempt)
    except RepeatsAway as error:
        metrics.idempotent_requests.labels("away").inc()
        raise IdempotencyNotKept("try again in a moment", retry_after_seconds=AWAY_RETRY_SECONDS) from error
    if kept is not None:
        return _repeated(attempt, kept)
    try:
        response = await work()
    except Exception:
        await _told(repeats.forget(attempt), endpoint)
        raise
    if response.status >= 500 or "Retry-After" in response.headers:
        await _told(repeats.forget(attempt), endpoint)
        return response
    metrics.idempotent_requests.labels("first").inc()
    written = _written(response)
    if len(written) <= ANSWER_BYTES_MAX:
        await _told(repeats.keep(attempt, written), endpoint)
    else:
        log.warning("idempotent_answer_too_large", endpoint=endpoint.name, answer_bytes=len(written))
    return response


async def _attempt(endpoint: Endpoint, request: web.Request, caller: Caller) -> Attempt:
    key = read_key(request.headers.getall(HEADER))
    user = str(caller.user_id)
    return Attempt(
        user=user,
        name=digest(user, endpoint.method, endpoint.path, key),
        request=digest(request.path_qs, await request.read()),
        owner=token_hex(8),
    )


def _repeated(attempt: Attempt, kept: Kept) -> web.Response:
    if kept.request != attempt.request:
        metrics.idempotent_requests.labels("reused").inc()
        raise IdempotencyKeyReused("send each request with a key of its own; only a repetition has the same")
    if kept.answer is not None:
        metrics.idempotent_requests.labels("repeated").inc()
        return _read(kept.answer)
    if kept.abandoned:
        metrics.idempotent_requests.labels("unknown").inc()
        raise OutcomeUnknown("look whether it was done; if not, send it with a new key")
    metrics.idempotent_requests.labels("running").inc()
    raise StillRunning(
        f"it ends within {RUNNING_SECONDS_MAX} s; ask again with the same key", headers={"Retry-After": "1"}
    )


async def _told(telling: Awaitable[None], endpoint: Endpoint) -> None:
    """The work is done either way; a repetition of one that could not be kept hears OutcomeUnknown."""
    try:
        await telling
    except RepeatsAway as error:
        log.warning("idempotent_answer_not_kept", endpoint=endpoint.name, reason=str(error))


def _written(response: web.Response) -> bytes:
    body = response.body if isinstance(response.body, bytes) else b""
    headers = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
    kept = {"status": response.status, "headers": headers, "body": b64encode(body).decode()}
    return json.dumps(kept).encode()


def _read(written: bytes) -> web.Response:
    kept = json.loads(written)
    headers = {**kept["headers"], REPLAYED_HEADER: "true"}
    return web.Response(status=kept["status"], body=b64decode(kept["body"]), headers=headers)
