"""A way to a server that can be frozen: connections stand, and nothing comes through any more."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit, urlunsplit


class FreezableWay:
    """Forwards to the server of `url` from a port of its own; `url` of this is the same through it."""

    def __init__(self, url: str) -> None:
        self._server = urlsplit(url)
        self._open = asyncio.Event()
        self._open.set()
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.held_back = asyncio.Event()
        """Something has come that does not get through."""
        self.url = ""

    def thaw(self) -> None:
        """From now on everything gets through again, beginning with what was held back."""
        self._open.set()

    def freeze(self) -> None:
        """From now on nothing gets through, to and fro; new connections are taken and not answered."""
        self._open.clear()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65_536):
            if not self._open.is_set():
                self.held_back.set()
                await self._open.wait()
            writer.write(chunk)
            await writer.drain()
        writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, server = await asyncio.open_connection(self._server.hostname, self._server.port)
        self._writers += [writer, server]
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with suppress(OSError):
            await asyncio.gather(self._pump(reader, server), self._pump(upstream, writer))

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["FreezableWay"]:
        """Forward meanwhile."""
        async with await asyncio.start_server(self._forward, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            login = self._server.netloc.rpartition("@")[0]
            self.url = urlunsplit(self._server._replace(netloc=f"{login}@127.0.0.1:{port}"))
            try:
                yield self
            finally:
                self._open.set()
                for writer in self._writers:
                    writer.close()
                if self._tasks:
                    await asyncio.wait(self._tasks)
