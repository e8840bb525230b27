"""Where media servers ask: one address per dialect, with our secret in it, answered in the dialect's own way."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import structlog
from aiohttp import web
from pydantic import BaseModel, ConfigDict, SecretStr

from runtime.endpoints import endpoint
from runtime.problems import PayloadTooLarge, Problem, Unavailable, UnsupportedMediaType
from runtime.unavailable import PERHAPS_AWAY, is_unavailable
from streaming import metrics
from streaming.errors import HookRefused, MalformedHook, StreamKeyNeeded, WrongSecret
from streaming.ingest import ant_media, mediamtx, nginx_rtmp, srs
from streaming.ingest.commands import Dialect, IngestCommand, IngestEvent, Uninteresting
from streaming.ingest.hook_fields import JSON_BYTES_MAX
from streaming.ingest.hooked_servers import HookedServer, HookedServers
from streaming.lifecycle.lifecycle import Verdict
from streaming.lifecycle.publishing import Answer

log = structlog.get_logger(__name__)

JSON: Final = "application/json"
SRS_REFUSES: Final = 403  # any integer but 0
PROBLEMS: Final = (WrongSecret, HookRefused, MalformedHook, PayloadTooLarge, UnsupportedMediaType)


class HookPath(BaseModel):
    """The secret that only our media servers know."""

    model_config = ConfigDict(frozen=True)

    secret: SecretStr


@dataclass(frozen=True, slots=True)
class HookRules:
    """What hooks are held to."""

    servers: HookedServers
    seconds_max: float


class Commands(Protocol):
    """Something that answers what media servers ask."""

    async def handle(self, command: IngestCommand) -> Answer:
        """The answer to one hook."""
        ...


Parse = Callable[[HookedServer, bytes], IngestCommand | Uninteresting]


class IngestHooks:
    """The hooks of every dialect."""

    tag = "ingest hooks"

    def __init__(self, commands: Commands, rules: HookRules) -> None:
        self._commands = commands
        self._rules = rules

    @endpoint("POST", "/hooks/ingest/nginx-rtmp/{secret}", problems=PROBLEMS, raw=True, limit=None)
    async def nginx_rtmp(self, path: HookPath, request: web.Request) -> web.Response:
        """Answer one hook of nginx-rtmp.

        A publish that is accepted is sent on to its stream's own name (302); 200 lets everything else go on; any
        other status makes nginx-rtmp drop the publisher.
        """

        def parse(server: HookedServer, body: bytes) -> IngestCommand | Uninteresting:
            return nginx_rtmp.parse_hook(body, server=server.name, application=server.application)

        form = (nginx_rtmp.CONTENT_TYPE,)
        server, answer = await self._hear(
            Dialect.NGINX_RTMP, path, request, parse, types=form, bytes_max=nginx_rtmp.BODY_BYTES_MAX
        )
        if answer.stream_id is not None:
            location = f"{server.push_url.rstrip('/')}/{answer.stream_id}"
            return web.Response(status=302, text="accepted\n", headers={"Location": location})
        text = answer.reason or answer.verdict.value
        return web.Response(text=text + "\n", headers={"Cache-Control": "no-store"})

    @endpoint("POST", "/hooks/ingest/srs/{secret}", problems=PROBLEMS, raw=True, limit=None)
    async def srs(self, path: HookPath, request: web.Request) -> web.Response:
        """Answer one HTTP callback of SRS: `code` 0 in the body is yes; any other code, and any other status, is no."""

        def parse(server: HookedServer, body: bytes) -> IngestCommand | Uninteresting:
            return srs.parse_hook(body, server=server.name, application=server.application, watched=server.watched)

        try:
            await self._hear(Dialect.SRS, path, request, parse)
        except Problem as problem:
            problem.facts["code"] = SRS_REFUSES
            raise
        return _yes()

    @endpoint("POST", "/hooks/ingest/mediamtx/{secret}", problems=(*PROBLEMS, StreamKeyNeeded), raw=True, limit=None)
    async def mediamtx(self, path: HookPath, request: web.Request) -> web.Response:
        """Answer what MediaMTX asks (JSON), and hear what its commands tell (`?event=…`).

        2xx allows; 401 says that no key was shown, 403 that the key does not do.
        """

        def parse(server: HookedServer, body: bytes) -> IngestCommand | Uninteresting:
            query = request.query.items()
            return mediamtx.parse_hook(
                body, query, server=server.name, application=server.application, watched=server.watched
            )

        types = None if "event" in request.query else (JSON,)  # a command's request has no body
        await self._hear(Dialect.MEDIAMTX, path, request, parse, types=types)
        return _yes()

    @endpoint("POST", "/hooks/ingest/ant-media/{secret}", problems=PROBLEMS, raw=True, limit=None)
    async def ant_media(self, path: HookPath, request: web.Request) -> web.Response:
        """Answer what Ant Media asks (JSON), and hear its events (JSON or a form): exactly 200 is yes."""

        def parse(server: HookedServer, body: bytes) -> IngestCommand | Uninteresting:
            kind = request.content_type
            return ant_media.parse_hook(body, kind, server=server.name, application=server.application)

        await self._hear(Dialect.ANT_MEDIA, path, request, parse, types=(JSON, ant_media.FORM))
        return _yes()

    async def _hear(
        self,
        dialect: Dialect,
        path: HookPath,
        request: web.Request,
        parse: Parse,
        *,
        types: tuple[str, ...] | None = (JSON,),
        bytes_max: int = JSON_BYTES_MAX,
    ) -> tuple[HookedServer, Answer]:
        """Who asked, and the answer that is not no. Raises what refuses."""
        started = time.perf_counter()
        name, event = "", "unread"
        try:
            server = self._rules.servers.find(dialect, path.secret)
            name = server.name
            command = parse(server, await _body(request, types, bytes_max))
            event = "other" if isinstance(command, Uninteresting) else command.event.value
            answer = await self._answer(command)
            if answer.verdict is Verdict.REFUSED and not _only_tells(command):
                raise HookRefused(answer.reason)
            metrics.hook_answers.labels(name, dialect, event, answer.verdict.value).inc()
            return server, answer
        except Problem as problem:
            metrics.hook_answers.labels(name, dialect, event, problem.type).inc()
            log.info(
                "hook_refused",
                server=name,
                dialect=dialect.value,
                ingest_event=event,
                reason=problem.detail,
                problem=problem.type,
            )
            raise
        finally:
            metrics.hook_seconds.labels(dialect, event).observe(time.perf_counter() - started)

    async def _answer(self, command: IngestCommand | Uninteresting) -> Answer:
        """The answer within its time; without a database nobody new is let in, and nobody who streams is dropped."""
        if isinstance(command, Uninteresting):
            return Answer(Verdict.IGNORED, "nothing to do")
        try:
            async with asyncio.timeout(self._rules.seconds_max):
                return await self._commands.handle(command)
        except PERHAPS_AWAY as error:
            if not is_unavailable(error):
                raise
            log.warning("hook_not_handled", ingest_event=command.event.value, reason=str(error) or type(error).__name__)
            if command.event is IngestEvent.PUBLISH:
                raise Unavailable("streams cannot start right now") from error
            return Answer(Verdict.IGNORED, "not recorded")


def _only_tells(command: IngestCommand | Uninteresting) -> bool:
    """Whether nothing comes of a no but that the server says it again: who is not wanted is dropped by reconciling."""
    return isinstance(command, Uninteresting) or command.key is None


async def _body(request: web.Request, types: tuple[str, ...] | None, bytes_max: int) -> bytes:
    if types is not None and request.content_type not in types:
        got = request.headers.get("Content-Type", "no content type")
        raise UnsupportedMediaType(f"a hook is {' or '.join(types)}, not {got[:100]}")
    if request.content_length is not None and request.content_length > bytes_max:
        raise PayloadTooLarge(f"a hook has at most {bytes_max} bytes")
    body = await request.read()
    if len(body) > bytes_max:
        raise PayloadTooLarge(f"a hook has at most {bytes_max} bytes")
    return body


def _yes() -> web.Response:
    """Accepted in every dialect that reads JSON or only the status."""
    return web.json_response({"code": 0}, headers={"Cache-Control": "no-store"})
