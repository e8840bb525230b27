"""A push service that takes everything, in a process of its own: `python -m bench.push_sink`.

It writes its port as its first line, and for every line that it reads how many messages it has taken. It
does as little as possible: what is measured is who sends.
"""

import asyncio
import sys
from typing import cast

import uvloop

HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length:"
TAKEN = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"


class Taken:
    """What came, of all connections."""

    messages = 0


class Sink(asyncio.Protocol):
    """One connection: requests with a Content-Length, one after the other."""

    def __init__(self, taken: Taken) -> None:
        self._taken = taken
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to answer on."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._unread += data
        while (head_end := self._unread.find(HEAD_END)) >= 0:
            head = self._unread[:head_end].lower()
            body_begin = head_end + len(HEAD_END)
            at = head.index(LENGTH) + len(LENGTH)
            body_end = body_begin + int(head[at:].partition(b"\r\n")[0])
            if len(self._unread) < body_end:
                return
            self._taken.messages += 1
            self._unread = self._unread[body_end:]
            self._transport.write(TAKEN)


async def main() -> None:
    """Serve until standard input ends."""
    loop, taken = asyncio.get_running_loop(), Taken()
    server = await loop.create_server(lambda: Sink(taken), "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    while await asyncio.to_thread(sys.stdin.readline):
        sys.stdout.write(f"{taken.messages}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(main())
