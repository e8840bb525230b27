"""Asks a real nginx with `deploy/nginx.conf`, and stands in for the archive behind it."""

from __future__ import annotations

import http.client
import http.server
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

DEADLINE_SECONDS = 20.0


@dataclass
class Answer:
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes


def ask(
    port: int, path: str, *, method: str = "GET", headers: dict[str, str] | None = None, body: bytes = b""
) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body=body or None, headers=headers or {})
        answer = connection.getresponse()
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def wait_for(what: Callable[[], bool], name: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not what():
        assert time.monotonic() < deadline, f"{name} did not happen within {DEADLINE_SECONDS} s"
        time.sleep(0.05)


@dataclass
class PlaybackTwin:
    """Answers the edge's question as the archive does: everything is public but what is private or refused."""

    private: dict[str, str] = field(default_factory=dict)
    """The grant of each private recording."""
    refused: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    @contextmanager
    def on(self, port: int) -> Iterator[PlaybackTwin]:
        """Answer on the archive's port until the block ends."""
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                recording = self.path.split("/")[3]
                outer.asked.append(recording)
                private = recording in outer.private
                right = not private or self.headers["X-Playback-Grant"] == outer.private[recording]
                allowed = right and recording not in outer.refused
                self.send_response(204 if allowed else 403)
                self.send_header("X-Recording-Visibility", "private" if private else "public")
                self.send_header("Cache-Control", "no-store")
                if not allowed:
                    self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
