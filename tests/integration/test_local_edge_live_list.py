"""The edge keeps the live list for a second: a storm is one question, tags are answered there, nobody's own is kept."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from deploy.local import Stack
from streaming.streams.api import LIST_CACHE_CONTROL
from tests.integration.edge import ask, wait_for

STORM_QUESTIONS = 50
"""Of each client."""


@dataclass
class StreamingTwin:
    """Answers as streaming does, and remembers what it was asked with."""

    version: int = 1
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    """Path, Authorization and Accept-Encoding of each."""

    @contextmanager
    def on(self, port: int) -> Iterator[StreamingTwin]:
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                whose = self.headers.get("Authorization", "")
                outer.asked.append((self.path, whose, self.headers.get("Accept-Encoding", "")))
                body, etag = f"{outer.version}{whose}".encode() * 400, f'W/"{outer.version}{whose}"'
                known = self.headers.get("If-None-Match") == etag
                self.send_response(304 if known else 200)
                # also with what is one's own: the edge must not need to be told
                self.send_header("Cache-Control", LIST_CACHE_CONTROL)
                self.send_header("ETag", etag)
                self.send_header("Vary", "Accept-Encoding")
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", "0" if known else str(len(body)))
                self.end_headers()
                if not known:
                    self.wfile.write(body)

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


@pytest.fixture
def edge(own_stack: Callable[..., Stack]) -> Stack:
    return own_stack("nginx")


def test_the_live_list_is_kept_for_a_second_and_nobodys_own(edge: Stack) -> None:
    port = edge.ports["edge"]

    def version(path: str = "/api/streams", **headers: str) -> str:
        answer = ask(port, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        assert answer.status == 200, answer
        return answer.body[:1].decode()

    with StreamingTwin().on(edge.ports["streaming"]) as streaming:
        seconds = _storm(port)
        assert 1 <= len(streaming.asked) <= seconds + 2, "a storm is one question a second"
        etag = ask(port, "/api/streams").headers["etag"]
        before = len(streaming.asked)
        answer = ask(port, "/api/streams", headers={"If-None-Match": etag})
        assert (answer.status, answer.body) == (304, b"")
        assert len(streaming.asked) <= before + 1

        streaming.version = 2
        changed_at = time.monotonic()
        wait_for(lambda: version() == "2", "the change at the edge")
        assert time.monotonic() - changed_at < 8, "old for one second, or for two where it began late"
        assert version("/api/streams?limit=1") == "2"

        assert version(Authorization="Bearer 7") == "2"
        assert b"Bearer" not in ask(port, "/api/streams").body, "what one was shown is shown to nobody else"
        streaming.version = 3
        assert version(Cookie="livestream_read_after=AAAA") == "3", "who has just written sees it"
        assert version() == "3", "and then everybody does"

        for spelling in ("gzip", "br, gzip", "gzip;q=1.0, *;q=0", "GZIP", "identity", "gzip;q=0", "br"):
            version("/api/streams?limit=2", Accept_Encoding=spelling)
        asked = {accepted for path, _, accepted in streaming.asked if path.endswith("limit=2")}
        assert asked <= {"gzip", ""}

    time.sleep(2.1)  # until what the edge has is old
    assert version() == "3", "while the service is away, what was there is shown for some time"


def _storm(port: int) -> float:
    """Eight clients that ask again and again; for how many seconds."""
    began = time.monotonic()

    def client(_: int) -> None:
        for _ in range(STORM_QUESTIONS):
            assert ask(port, "/api/streams").status == 200

    with ThreadPoolExecutor(8) as clients:
        list(clients.map(client, range(8)))
    return time.monotonic() - began
