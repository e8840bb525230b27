"""nginx-rtmp as a media server: its control module drops clients by their number, its statistics say what is published.

Both see one worker process only, so nginx runs RTMP with `worker_processes 1`. A publisher is dropped by its client
number because its stream has no usable name: after a redirect nginx-rtmp goes on under a digest of the address.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID
from xml.etree import ElementTree

import aiohttp

from streaming import metrics
from streaming.errors import MediaServerUnavailable
from streaming.ingest.commands import Session
from streaming.servers.media_server import Publisher

CLOSED_POLL_SECONDS: Final = 0.02
ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024
CONNECTIONS_MAX: Final = 20


class NginxRtmp:
    """One nginx-rtmp, through its control and statistics addresses."""

    def __init__(
        self, http: aiohttp.ClientSession, *, control_url: str, stat_url: str, application: str, seconds_max: float
    ) -> None:
        self._http = http
        self._control_url = control_url.rstrip("/")
        self._stat_url = stat_url
        self._application = application
        self._seconds_max = seconds_max

    async def drop(self, session: Session) -> bool:
        """Cut off the client that has the session's number; False when there is none. Raises MediaServerUnavailable."""
        answer = await self._get(
            "drop", f"{self._control_url}/drop/client", {"app": self._application, "clientid": session.client}
        )
        return answer.strip() not in (b"", b"0")

    async def wait_closed(self, stream_id: UUID) -> bool:
        """Wait until no application publishes under the stream's id; False when one still does after the time."""
        name = f"<name>{stream_id}</name>".encode()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._seconds_max
        while name in await self._get("statistics", self._stat_url, {}):
            if loop.time() >= deadline:
                return False
            await asyncio.sleep(CLOSED_POLL_SECONDS)
        return True

    async def publishers(self) -> Sequence[Publisher]:
        """Whoever publishes to the application of streamers. Raises MediaServerUnavailable."""
        page = await self._get("statistics", self._stat_url, {})
        try:
            return _publishers(page, self._application)
        except (ElementTree.ParseError, ValueError) as error:
            metrics.media_server_failures.labels("statistics").inc()
            raise MediaServerUnavailable("statistics", f"not nginx-rtmp's statistics: {error}") from error

    async def _get(self, action: str, url: str, query: dict[str, str]) -> bytes:
        try:
            async with (
                asyncio.timeout(self._seconds_max),
                self._http.get(url, params=query, allow_redirects=False) as answer,
            ):
                if answer.status != 200:
                    raise MediaServerUnavailable(action, f"answered {answer.status}")
                return await _whole(answer, action)
        except (aiohttp.ClientError, OSError) as error:
            metrics.media_server_failures.labels(action).inc()
            raise MediaServerUnavailable(action, str(error) or type(error).__name__) from error


async def _whole(answer: aiohttp.ClientResponse, action: str) -> bytes:
    """The body to its end: half a page would say that somebody is not there."""
    pieces, length = [], 0
    async for piece in answer.content.iter_any():
        pieces.append(piece)
        length += len(piece)
        if length > ANSWER_BYTES_MAX:
            raise MediaServerUnavailable(action, f"answered more than {ANSWER_BYTES_MAX} bytes")
    return b"".join(pieces)


def _publishers(page: bytes, application: str) -> Sequence[Publisher]:
    """Whoever the statistics show publishing to the application; raises ParseError or ValueError if they are not such.

    The time is that since the connection was made, in milliseconds. Source: ngx_rtmp_stat_module.c of 1.2.2.
    """
    root = ElementTree.fromstring(page)  # noqa: S314  our own media server wrote it; expat is bounded since 2.4.1
    live = next((found for found in root.iterfind("server/application") if found.findtext("name") == application), None)
    if root.tag != "rtmp" or live is None:
        raise ValueError(f"without an application {application}")
    clients = [client for client in live.iterfind("live/stream/client") if client.find("publishing") is not None]
    return [Publisher(str(int(_text(client, "id"))), int(_text(client, "time")) / 1_000) for client in clients]


def _text(element: ElementTree.Element, name: str) -> str:
    text = element.findtext(name)
    if not text:
        raise ValueError(f"a client without {name}")
    return text


@asynccontextmanager
async def open_nginx_rtmp(
    *, control_url: str, stat_url: str, application: str, seconds_max: float
) -> AsyncIterator[NginxRtmp]:
    """An nginx-rtmp with connections of its own, closed on leaving. Opens nothing until it is asked something."""
    connector = aiohttp.TCPConnector(limit=CONNECTIONS_MAX)
    async with aiohttp.ClientSession(connector=connector) as http:
        yield NginxRtmp(
            http, control_url=control_url, stat_url=stat_url, application=application, seconds_max=seconds_max
        )
