"""An HTTP server that takes what is posted, keeps it, and answers as the test says: well, badly, or not at all."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

from aiohttp import web

LARGE_BYTES = 10 * 1024 * 1024
DRIP_SECONDS = 0.05
REQUEST_BYTES_MAX = 1024 * 1024


@dataclass(frozen=True)
class Post:
    """One request that came."""

    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes


Answerer: TypeAlias = Callable[[Post], Awaitable[web.StreamResponse] | web.StreamResponse]


@dataclass
class Sink:
    """Running, at `url`. A path's first part chooses the answer, unless a test has set one for the whole path.

    ``/200/…`` and any other status: that status; ``/429`` and ``/503`` with Retry-After 7. ``/302``: a redirect to
    /200/landed. ``/large``: 10 MB. ``/drip``: a byte every 50 ms, for ever. ``/silent``: no answer at all.
    ``/headers``: a header line of 100 KB.
    """

    port: int
    posts: list[Post] = field(default_factory=list)
    answers: dict[str, Answerer] = field(default_factory=dict)
    """By whole path; a test may change them at any time."""
    at_once: int = 0
    """Requests that are being answered."""
    at_once_max: int = 0
    aborted: int = 0
    """Answers that the client cut off."""
    bytes_written: int = 0
    """Of the large and the dripping answers."""
    _arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def url(self) -> str:
        """Of the server, without a path; plain HTTP on the loopback address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def provider(self) -> str:
        """As destinations name it."""
        return f"127.0.0.1:{self.port}"

    def posts_to(self, path: str) -> list[Post]:
        """What came for a path."""
        return [post for post in self.posts if post.path == path]

    def by_path(self) -> dict[str, int]:
        """How many came, by path."""
        counted: dict[str, int] = defaultdict(int)
        for post in self.posts:
            counted[post.path] += 1
        return dict(counted)

    async def wait_for(self, posts: int, *, seconds: float = 15.0) -> None:
        """Until so many have come; AssertionError when they do not in time."""
        try:
            async with asyncio.timeout(seconds), self._arrived:
                await self._arrived.wait_for(lambda: len(self.posts) >= posts)
        except TimeoutError:
            raise AssertionError(f"{len(self.posts)} of {posts} came within {seconds:g} s") from None

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Keep a request and answer it."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        post = Post(request.path, headers, await request.read())
        self.posts.append(post)
        async with self._arrived:
            self._arrived.notify_all()
        self.at_once += 1
        self.at_once_max = max(self.at_once_max, self.at_once)
        try:
            return await self._answer(request, post)
        except (ConnectionError, asyncio.CancelledError):
            self.aborted += 1
            raise
        finally:
            self.at_once -= 1

    async def _answer(self, request: web.Request, post: Post) -> web.StreamResponse:
        if post.path in self.answers:
            answer = self.answers[post.path](post)
            return await answer if isinstance(answer, Awaitable) else answer
        word = post.path.split("/")[1]
        if word == "large":
            return await self._write(request, pieces=LARGE_BYTES // 65_536, piece=b"x" * 65_536, pause_seconds=0)
        if word == "drip":
            return await self._write(request, pieces=None, piece=b".", pause_seconds=DRIP_SECONDS)
        if word == "silent":
            await asyncio.Event().wait()
        if word == "headers":
            return web.Response(headers={"X-Long": "x" * 100_000})
        return status_answer(int(word) if word.isdigit() else 200)

    async def _write(
        self, request: web.Request, *, pieces: int | None, piece: bytes, pause_seconds: float
    ) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        written = 0
        while pieces is None or written < pieces:
            await response.write(piece)
            written += 1
            self.bytes_written += len(piece)
            await asyncio.sleep(pause_seconds)
        return response


def status_answer(status: int, *, retry_after: str = "7", text: str = "") -> web.Response:
    """An answer with a status, and what belongs to it."""
    if status in (429, 503):
        return web.Response(status=status, headers={"Retry-After": retry_after}, text=text)
    if 300 <= status < 400:
        return web.Response(status=status, headers={"Location": "/200/landed"})
    return web.Response(status=status, text=text)


@asynccontextmanager
async def running_sink(host: str = "127.0.0.1") -> AsyncIterator[Sink]:
    """A sink on a free port."""
    application = web.Application(client_max_size=REQUEST_BYTES_MAX)
    sink = Sink(port=0)
    application.router.add_route("*", "/{path:.*}", sink.take)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, 0)
        await site.start()
        sink.port = runner.addresses[0][1]
        yield sink
    finally:
        await runner.cleanup()
