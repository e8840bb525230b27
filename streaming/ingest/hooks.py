"""Where media servers ask: one address per dialect, with our secret in it, answered in the dialect's own way."""

import asyncio
import hmac
import time
from dataclasses import dataclass
from typing import Protocol

import structlog
from aiohttp import web
from pydantic import BaseModel, ConfigDict, SecretStr

from runtime.endpoints import endpoint
from runtime.problems import PayloadTooLarge, Problem, Unavailable, UnsupportedMediaType
from runtime.unavailable import is_unavailable
from streaming import metrics, store
from streaming.errors import HookRefused, MalformedHook, WrongSecret
from streaming.ingest.commands import IngestCommand, IngestEvent
from streaming.ingest.nginx_rtmp import BODY_BYTES_MAX, CONTENT_TYPE, Uninteresting, parse_hook
from streaming.lifecycle.lifecycle import Verdict
from streaming.lifecycle.publishing import Answer

log = structlog.get_logger(__name__)


class HookPath(BaseModel):
    """The secret that only our media servers know."""

    model_config = ConfigDict(frozen=True)

    secret: SecretStr


@dataclass(frozen=True, slots=True)
class HookRules:
    """What hooks are held to."""

    server: str
    """The media server's name, by which its sessions are told from another's."""
    secret: SecretStr
    application: str
    push_url: str
    seconds_max: float


class Commands(Protocol):
    """Something that answers what media servers ask."""

    async def handle(self, command: IngestCommand) -> Answer:
        """The answer to one hook."""
        ...


class IngestHooks:
    """The hooks of every dialect; so far nginx-rtmp's."""

    tag = "ingest hooks"

    def __init__(self, commands: Commands, rules: HookRules) -> None:
        self._commands = commands
        self._rules = rules

    @endpoint(
        "POST",
        "/hooks/ingest/nginx-rtmp/{secret}",
        problems=(WrongSecret, HookRefused, MalformedHook, PayloadTooLarge, UnsupportedMediaType),
        raw=True,
    )
    async def nginx_rtmp(self, path: HookPath, request: web.Request) -> web.Response:
        """Answer one hook of nginx-rtmp.

        A publish that is accepted is sent on to its stream's own name (302); 200 lets everything else go on; any
        other status makes nginx-rtmp drop the publisher.
        """
        started = time.perf_counter()
        event = "unread"
        try:
            self._check_secret(path.secret)
            command = parse_hook(await _body(request), server=self._rules.server, application=self._rules.application)
            if isinstance(command, Uninteresting):
                event = "other"
                return _text(200, "nothing to do")
            event = command.event.value
            answer = await self._answer(command)
            metrics.hook_answers.labels(event, answer.verdict.value).inc()
            return self._response(answer)
        except Problem as problem:
            metrics.hook_answers.labels(event, problem.type).inc()
            log.info("hook_refused", ingest_event=event, reason=problem.detail, problem=problem.type)
            raise
        finally:
            metrics.hook_seconds.labels(event).observe(time.perf_counter() - started)

    def _check_secret(self, given: SecretStr) -> None:
        expected = self._rules.secret.get_secret_value().encode()
        if not hmac.compare_digest(given.get_secret_value().encode(errors="surrogatepass"), expected):
            raise WrongSecret("the address has another secret than this service")

    async def _answer(self, command: IngestCommand) -> Answer:
        """The answer within its time; without a database nobody new is let in, and nobody who streams is dropped."""
        try:
            async with asyncio.timeout(self._rules.seconds_max):
                return await self._commands.handle(command)
        except store.PERHAPS_AWAY as error:
            if not is_unavailable(error):
                raise
            log.warning("hook_not_handled", ingest_event=command.event.value, reason=str(error) or type(error).__name__)
            if command.event is IngestEvent.PUBLISH:
                raise Unavailable("streams cannot start right now") from error
            return Answer(Verdict.IGNORED, "not recorded")

    def _response(self, answer: Answer) -> web.Response:
        if answer.verdict is Verdict.REFUSED:
            raise HookRefused(answer.reason)
        if answer.stream_id is not None:
            location = f"{self._rules.push_url.rstrip('/')}/{answer.stream_id}"
            return web.Response(status=302, text="accepted\n", headers={"Location": location})
        return _text(200, answer.reason or answer.verdict.value)


async def _body(request: web.Request) -> bytes:
    if request.content_type != CONTENT_TYPE:
        got = request.headers.get("Content-Type", "no content type")
        raise UnsupportedMediaType(f"a hook is {CONTENT_TYPE}, not {got[:100]}")
    if request.content_length is not None and request.content_length > BODY_BYTES_MAX:
        raise PayloadTooLarge(f"a hook has at most {BODY_BYTES_MAX} bytes")
    body = await request.read()
    if len(body) > BODY_BYTES_MAX:
        raise PayloadTooLarge(f"a hook has at most {BODY_BYTES_MAX} bytes")
    return body


def _text(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text + "\n", headers={"Cache-Control": "no-store"})
