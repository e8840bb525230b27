"""Sends prepared heartbeats at their planned times over connections that stay: `python -m bench.heartbeats_sender`.

Arguments: port, file of requests (all of one length), bytes of one, requests a second, when to begin (seconds since
1970). Prints one JSON object: what was answered, and the times from plan to answer in milliseconds.
"""

import asyncio
import json
import sys
import time
from collections import Counter, deque
from pathlib import Path
from typing import Final, cast

import uvloop

from bench.report import percentile

CONNECTIONS: Final = 64
ANSWER_SECONDS_MAX: Final = 30.0
_END_OF_HEAD: Final = b"\r\n\r\n"
_LENGTH: Final = b"Content-Length: "


class Connection(asyncio.Protocol):
    """One request after the other; those that come meanwhile wait."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._planned_at: float | None = None
        self._received = b""
        self.millis: list[float] = []
        self.refused: Counter[str] = Counter()
        self.idle = asyncio.Event()
        """Set while everything was answered."""
        self.idle.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep it."""
        self._transport = cast("asyncio.Transport", transport)

    def send(self, planned_at: float, request: bytes) -> None:
        """Send, or wait for those before."""
        if self._planned_at is not None:
            self._waiting.append((planned_at, request))
            return
        assert self._transport is not None
        self._planned_at = planned_at
        self.idle.clear()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """An answer, perhaps in parts."""
        self._received += data
        head, found, body = self._received.partition(_END_OF_HEAD)
        if not found or len(body) < int(head.partition(_LENGTH)[2].partition(b"\r")[0]):
            return
        assert self._planned_at is not None
        self.millis.append((time.monotonic() - self._planned_at) * 1_000)
        if not head.startswith(b"HTTP/1.1 200 "):
            self.refused[head.split()[1].decode()] += 1
        self._received, self._planned_at = b"", None
        if self._waiting:
            self.send(*self._waiting.popleft())
        else:
            self.idle.set()


async def send_all(port: int, requests: bytes, size: int, per_second: float, begin_at: float) -> dict[str, float]:
    """Send everything; raises TimeoutError when the last answers do not come."""
    loop = asyncio.get_running_loop()
    connections = [(await loop.create_connection(Connection, "127.0.0.1", port))[1] for _ in range(CONNECTIONS)]
    began = time.monotonic() + begin_at - time.time()
    for number in range(len(requests) // size):
        planned_at = began + number / per_second
        await asyncio.sleep(max(0.0, planned_at - time.monotonic()))
        connections[number % CONNECTIONS].send(planned_at, requests[number * size : (number + 1) * size])
    async with asyncio.timeout(ANSWER_SECONDS_MAX):
        await asyncio.gather(*(connection.idle.wait() for connection in connections))
    refused = sum((connection.refused for connection in connections), Counter[str]())
    if refused:
        print(f"refused: {dict(refused)}", file=sys.stderr)  # noqa: T201  for whoever runs the bench
    millis = sorted(one for connection in connections for one in connection.millis)
    return {
        "answers": len(millis),
        "refused": refused.total(),
        "p50_ms": round(percentile(millis, 0.5), 2),
        "p95_ms": round(percentile(millis, 0.95), 2),
        "p99_ms": round(percentile(millis, 0.99), 2),
    }


if __name__ == "__main__":
    port, path, size, per_second, begin_at = sys.argv[1:]
    answered = uvloop.run(send_all(int(port), Path(path).read_bytes(), int(size), float(per_second), float(begin_at)))
    print(json.dumps(answered))  # noqa: T201  what the bench reads
