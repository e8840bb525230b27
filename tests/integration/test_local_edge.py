"""The edge and ingest of `deploy/nginx.conf` on real nginx: what is reachable, how it looks, and what stays inside."""

from __future__ import annotations

import http.server
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from deploy.local import Stack
from tests.integration.edge import DEADLINE_SECONDS, ask, wait_for

STREAM = "01922222-2222-7222-8222-222222222222"
KEY = "sk_this-key-must-appear-nowhere"


@dataclass
class HookServer:
    """Answers nginx-rtmp as the streaming service does, and remembers what it was told."""

    push_url: str
    calls: list[str] = field(default_factory=list)

    def serve(self, port: int) -> http.server.ThreadingHTTPServer:
        """Listen on the streaming service's port until closed."""
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                call = parse_qs(body)["call"][0]
                outer.calls.append(call)
                self.send_response(302 if call == "publish" else 200)
                if call == "publish":
                    self.send_header("Location", f"{outer.push_url}/{STREAM}")
                self.end_headers()

            def do_GET(self) -> None:
                """Everybody may play what is live."""
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server


@pytest.fixture
def edge(own_stack: Callable[..., Stack]) -> Stack:
    return own_stack("nginx")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Eight seconds with a keyframe every two, as streamers are advised."""
    path = tmp_path / "clip.flv"
    source = ["-f", "lavfi", "-i", "testsrc2=size=160x90:rate=30", "-f", "lavfi", "-i", "sine=f=440", "-t", "8"]
    codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "60", "-pix_fmt", "yuv420p", "-c:a", "aac"]
    subprocess.run(["ffmpeg", "-v", "error", *source, *codecs, str(path)], check=True, timeout=60)
    return path


@pytest.fixture
def publisher(edge: Stack, clip: Path) -> Iterator[subprocess.Popen[bytes]]:
    target = f"rtmp://127.0.0.1:{edge.ports['rtmp']}/live/{KEY}"
    command = ["ffmpeg", "-v", "error", "-re", "-i", str(clip), "-c", "copy", "-f", "flv", target]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        yield process
        process.kill()


def test_a_published_stream_plays_under_its_id_and_the_key_is_nowhere(
    edge: Stack, request: pytest.FixtureRequest
) -> None:
    hooks = HookServer(push_url=edge.environment()["LIVESTREAM_STREAMING_INGEST_PUSH_URL"])
    server = hooks.serve(edge.ports["streaming"])
    try:
        publisher = request.getfixturevalue("publisher")
        port, playlist = edge.ports["edge"], f"/live/{STREAM}/index.m3u8"
        wait_for(lambda: b"1.ts" in ask(port, playlist).body, "a second segment")
        answer = ask(port, playlist)
        assert answer.headers["content-type"] == "application/vnd.apple.mpegurl"
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["access-control-allow-origin"] == "*"
        segment = ask(port, f"/live/{STREAM}/0.ts", headers={"Range": "bytes=0-187"})
        assert (segment.status, len(segment.body), segment.body[:1]) == (206, 188, b"G")
        assert "immutable" in segment.headers["cache-control"]
        publisher.wait(timeout=DEADLINE_SECONDS)
        wait_for(lambda: "publish_done" in hooks.calls, "publish_done")
        durations = [
            float(line[8:].rstrip(",")) for line in ask(port, playlist).body.decode().split() if "#EXTINF" in line
        ]
        assert max(durations) < 3, "the first segment must not be longer than one group of pictures"
    finally:
        server.shutdown()
        server.server_close()
    assert "publish" in hooks.calls
    edge.stop("nginx")  # which may be renaming its last playlist
    written = [path for part in ("log", "hls") for path in (edge.directory / part).rglob("*")]
    assert written
    for path in written:
        assert KEY not in path.name
        assert path.is_dir() or KEY.encode() not in path.read_bytes()
        assert (
            path.is_dir() or edge.environment()["LIVESTREAM_STREAMING_INGEST_SECRET"].encode() not in path.read_bytes()
        )


def test_the_port_of_streamers_does_not_know_the_internal_application_not_even_from_this_machine(
    edge: Stack, clip: Path
) -> None:
    """A proxy on this machine that ends TLS in front of ingest brings everybody from 127.0.0.1."""
    internal = edge.environment()["LIVESTREAM_STREAMING_INGEST_PUSH_URL"]
    public = internal.replace(f":{edge.ports['rtmp-push']}/", f":{edge.ports['rtmp']}/")
    assert public != internal
    assert _push(clip, f"{public}/{STREAM}") != 0
    assert list((edge.directory / "hls").iterdir()) == []
    assert _push(clip, f"{internal}/{STREAM}") == 0
    segment = edge.directory / "hls" / STREAM / "0.ts"
    wait_for(segment.exists, "what was pushed is written")


def _push(clip: Path, target: str) -> int:
    command = ["ffmpeg", "-v", "error", "-i", str(clip), "-c", "copy", "-f", "flv", target]
    return subprocess.run(command, check=False, stdin=subprocess.DEVNULL, timeout=DEADLINE_SECONDS).returncode


def test_without_the_hook_nobody_can_publish_and_no_secret_is_logged(
    edge: Stack, publisher: subprocess.Popen[bytes]
) -> None:
    assert publisher.wait(timeout=DEADLINE_SECONDS) != 0
    log = edge.log("nginx").read_text()
    assert KEY not in log
    assert edge.environment()["LIVESTREAM_STREAMING_INGEST_SECRET"] not in log


@pytest.mark.parametrize(
    "path",
    [
        "/hooks/ingest/nginx-rtmp/x",
        "/control/drop/client",
        "/stat",
        "/metrics",
        "/livez",
        "/readyz",
        "/api/nope",
        "/.git/config",
        f"/live/{STREAM}/../x",
        "/live/x.ts",
        f"/live/{STREAM}/0.ts%0a",
        "/recordings/?list-type=2",
        "/vendor/",
    ],
)
def test_what_is_between_the_services_only_is_not_found_at_the_edge(edge_with_nothing_behind: int, path: str) -> None:
    answer = ask(edge_with_nothing_behind, path)
    assert answer.status == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert json.loads(answer.body)["type"] == "urn:livestream:problem:not-found"


@pytest.mark.parametrize(
    "path",
    [
        "/api/auth/login",
        "/api/users/me",
        "/.well-known/jwks.json",
        "/api/streams",
        "/api/channels/x",
        "/api/follows",
        "/api/users/x/followers",
        "/api/notifications",
        "/api/notifications/live",
        "/api/fanouts/x",
        "/api/archives",
        f"/api/archives/{STREAM}/chat",
        f"/api/chat/{STREAM}/messages",
        "/chat",
        "/chat/irc",
        f"/recordings/{STREAM}/master.m3u8",
        f"/recordings/{STREAM}/source/1.ts",
    ],
)
def test_a_service_that_is_down_is_a_problem_document(edge_with_nothing_behind: int, path: str) -> None:
    answer = ask(edge_with_nothing_behind, path)
    assert answer.status == 502
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "2"
    assert json.loads(answer.body)["status"] == 502


@pytest.mark.parametrize(
    ("protocols", "status"), [("irc", 502), ("chat, irc", 502), ("ircx", 200), ("x-irc", 200), ("", 200)]
)
def test_irc_clients_may_knock_at_the_root(edge_with_nothing_behind: int, protocols: str, status: int) -> None:
    asking = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Protocol": protocols}
    assert ask(edge_with_nothing_behind, "/", headers=asking).status == status
    assert ask(edge_with_nothing_behind, "/", headers={"Sec-WebSocket-Protocol": protocols}).status == 200


@pytest.mark.parametrize(
    ("method", "path", "size_bytes", "status"),
    [
        ("POST", "/", 0, 405),
        ("DELETE", f"/recordings/{STREAM}/master.m3u8", 0, 405),
        ("PUT", f"/recordings/{STREAM}/x", 10, 405),
        ("POST", f"/live/{STREAM}/index.m3u8", 10, 405),
        ("POST", "/api/auth/login", 1_100_000, 413),
        ("GET", "/../x", 0, 400),
        ("GET", "/" + "x" * 40_000, 0, 414),
    ],
)
def test_what_the_edge_refuses_is_a_problem_document(
    edge_with_nothing_behind: int, method: str, path: str, size_bytes: int, status: int
) -> None:
    answer = ask(edge_with_nothing_behind, path, method=method, body=b"x" * size_bytes)
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert json.loads(answer.body)["status"] == status


@pytest.fixture(scope="module")
def edge_with_nothing_behind(module_stack: Callable[..., Stack]) -> int:
    return module_stack("nginx").ports["edge"]
