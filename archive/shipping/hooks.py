"""Where SRS and MediaMTX hand over the segments that they have closed; the shipper does the rest, as for nginx-rtmp."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from uuid import UUID

import structlog
from aiohttp import web
from pydantic import BaseModel, ConfigDict, SecretStr

from archive import metrics
from archive.outages import SUSPECTS, is_outage
from archive.parts import ArchiveParts
from archive.problems import ForbiddenSegmentFile, MalformedSegmentHook, NoRunningRecording, WrongHookSecret
from archive.shipping.hook_dialects import HookedSegment, parse_mediamtx, parse_srs
from archive.shipping.hook_files import HookedDirectories
from archive.store import QUERIES
from runtime.assembly import Assembly
from runtime.endpoints import endpoint
from runtime.postgres import Pool
from runtime.problems import PayloadTooLarge, Problem, Unavailable

log = structlog.get_logger(__name__)

PROBLEMS = (
    WrongHookSecret,
    MalformedSegmentHook,
    ForbiddenSegmentFile,
    NoRunningRecording,
    PayloadTooLarge,
    Unavailable,
)


class SegmentHookPath(BaseModel):
    """The secret that only our media servers know."""

    model_config = ConfigDict(frozen=True)

    secret: SecretStr


class SegmentHooks:
    """The hooks of both dialects."""

    tag = "segment hooks"

    def __init__(self, pool: Pool, directories: HookedDirectories, secret: SecretStr) -> None:
        self._pool = pool
        self._directories = directories
        self._secret = secret
        # One at a time: a segment's number is the one after the last.
        self._turn = asyncio.Lock()

    @endpoint("POST", "/hooks/segments/srs/{secret}", problems=PROBLEMS, raw=True, limit=None)
    async def srs_segment(self, path: SegmentHookPath, request: web.Request) -> web.Response:
        """Take one segment of SRS (`on_hls`)."""
        self._check_secret(path.secret)
        body = await request.read()
        return await self._answer("srs", lambda: parse_srs(body))

    @endpoint("POST", "/hooks/segments/mediamtx/{secret}", problems=PROBLEMS, raw=True, limit=None)
    async def mediamtx_segment(self, path: SegmentHookPath, request: web.Request) -> web.Response:
        """Take one segment of MediaMTX (`?event=segment&path=…&file=…&duration=…`)."""
        self._check_secret(path.secret)
        return await self._answer("mediamtx", lambda: parse_mediamtx(request.query.items()))

    def _check_secret(self, given: SecretStr) -> None:
        expected = self._secret.get_secret_value().encode()
        if not hmac.compare_digest(given.get_secret_value().encode(errors="surrogatepass"), expected):
            raise WrongHookSecret("the address has another secret than this service")

    async def _answer(self, dialect: str, read: Callable[[], HookedSegment | None]) -> web.Response:
        """SRS takes code 0 for yes and reads nothing else; neither asks again after a no."""
        outcome = "nothing"
        try:
            segment = read()
            if segment is not None:
                outcome = await self._take(segment)
        except Problem as problem:
            outcome = problem.type
            log.warning("segment_hook_refused", dialect=dialect, problem=problem.type, reason=problem.detail)
            raise
        finally:
            metrics.segment_hooks.labels(dialect, outcome).inc()
        return web.json_response({"code": 0})

    async def _take(self, segment: HookedSegment) -> str:
        stream_id = await self._stream_of(segment.name)
        try:
            async with self._turn:
                outcome = await asyncio.to_thread(self._directories.take, stream_id, segment.path, segment.duration_ms)
        except OSError as error:
            raise Unavailable(f"the segment could not be taken: {error.strerror}") from error
        log.debug("segment_hooked", stream_id=str(stream_id), outcome=outcome)
        return outcome

    async def _stream_of(self, name: UUID) -> UUID:
        """The stream of that id, or the one that the channel of that id sends."""
        try:
            stream_id: UUID | None = await QUERIES.running_recording(self._pool, name=name)
        except SUSPECTS as error:
            if not is_outage(error):
                raise
            raise Unavailable("the database is away") from error
        if stream_id is None:
            raise NoRunningRecording(f"nothing is recorded of {name}")
        return stream_id


def segment_hooks(parts: ArchiveParts) -> Assembly:
    """The hooks, where a secret is set."""
    secret, root = parts.settings.archive_segment_hook_secret, parts.settings.archive_segment_hook_root
    if secret is None or root is None:
        return Assembly()
    directories = HookedDirectories(
        root, parts.settings.archive_hls_directory, bytes_max=parts.settings.archive_segment_hook_bytes_max
    )
    return Assembly(apis=[SegmentHooks(parts.pool, directories, secret)])
