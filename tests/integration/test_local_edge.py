"""The edge and ingest of `deploy/nginx.conf` on real nginx: what is reachable, how it looks, and what stays inside."""

from __future__ import annotations

import asyncio
import http.client
import http.server
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from archive.objects import SEGMENT
from archive.objects_disk import DiskObjects
from archive.objects_s3 import public_read_policy
from deploy.local import Stack
from tests.engines import S3

STREAM = "01922222-2222-7222-8222-222222222222"
KEY = "sk_this-key-must-appear-nowhere"
DEADLINE_SECONDS = 20.0


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

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server


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
    written = [path for part in ("log", "hls") for path in (edge.directory / part).rglob("*")]
    assert written
    for path in written:
        assert KEY not in path.name
        assert path.is_dir() or KEY.encode() not in path.read_bytes()
        assert (
            path.is_dir() or edge.environment()["LIVESTREAM_STREAMING_INGEST_SECRET"].encode() not in path.read_bytes()
        )


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
        "/chat",
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


@dataclass(frozen=True)
class Recordings:
    """An edge, and where it has its recordings from."""

    port: int
    put: Callable[[str, bytes, str], None]
    directory: Path | None

    def ask(self, path: str, *, method: str = "GET", headers: dict[str, str] | None = None) -> Answer:
        """Ask for something below the recordings."""
        return ask(self.port, f"/recordings/{path}", method=method, headers=headers)


@pytest.fixture(scope="module", params=["disk", "s3"])
def recordings(request: pytest.FixtureRequest, module_stack: Callable[..., Stack]) -> Recordings:
    made = _on_disk(module_stack) if request.param == "disk" else _on_s3(module_stack)
    made.put(f"{STREAM}/source/0.ts", b"0123456789", "video/mp2t")
    made.put(f"{STREAM}/master.m3u8", b"#EXTM3U\n", "application/vnd.apple.mpegurl")
    return made


def _on_disk(module_stack: Callable[..., Stack]) -> Recordings:
    stack = module_stack("nginx", profile="solo")
    directory = Path(stack.environment()["LIVESTREAM_ARCHIVE_DISK_DIRECTORY"])

    def put(key: str, body: bytes, _: str) -> None:
        async def work() -> None:
            async with DiskObjects(directory) as objects:
                await objects.put_bytes(key, body, SEGMENT)

        asyncio.run(work())

    return Recordings(stack.ports["edge"], put, directory)


def _on_s3(module_stack: Callable[..., Stack]) -> Recordings:
    stack = module_stack("nginx", "minio")
    settings = stack.environment()
    client = S3(
        settings["LIVESTREAM_ARCHIVE_S3_ENDPOINT_URL"],
        settings["LIVESTREAM_ARCHIVE_S3_ACCESS_KEY_ID"],
        settings["LIVESTREAM_ARCHIVE_S3_SECRET_ACCESS_KEY"],
    ).client()
    client.create_bucket(Bucket="recordings")
    client.put_bucket_policy(Bucket="recordings", Policy=public_read_policy("recordings"))

    def put(key: str, body: bytes, content_type: str) -> None:
        client.put_object(Bucket="recordings", Key=key, Body=body, ContentType=content_type)

    return Recordings(stack.ports["edge"], put, None)


def test_a_recording_is_read_through_the_edge(recordings: Recordings) -> None:
    whole = recordings.ask(f"{STREAM}/source/0.ts")
    assert (whole.status, whole.body) == (200, b"0123456789")
    assert whole.headers["content-type"] == "video/mp2t"
    assert whole.headers["content-length"] == "10"
    assert "immutable" in whole.headers["cache-control"]
    assert whole.headers["etag"]
    playlist = recordings.ask(f"{STREAM}/master.m3u8")
    assert (playlist.status, playlist.body) == (200, b"#EXTM3U\n")
    assert playlist.headers["content-type"] == "application/vnd.apple.mpegurl"
    assert playlist.headers["cache-control"] == "no-cache"
    for answer in (whole, playlist):
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["access-control-expose-headers"] == "Content-Length, Content-Range"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["accept-ranges"] == "bytes"
        assert not [name for name in answer.headers if name.startswith(("x-amz", "x-minio", "x-ratelimit"))]


def test_a_part_of_a_recording_is_read_as_a_range(recordings: Recordings) -> None:
    part = recordings.ask(f"{STREAM}/source/0.ts", headers={"Range": "bytes=2-4"})
    assert (part.status, part.body, part.headers["content-range"]) == (206, b"234", "bytes 2-4/10")
    assert recordings.ask(f"{STREAM}/source/0.ts", headers={"Range": "bytes=20-"}).status == 416
    head = recordings.ask(f"{STREAM}/source/0.ts", method="HEAD")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "10")


def test_a_recording_that_a_player_has_already_is_not_sent_again(recordings: Recordings) -> None:
    etag = recordings.ask(f"{STREAM}/source/0.ts").headers["etag"]
    assert recordings.ask(f"{STREAM}/source/0.ts", headers={"If-None-Match": etag}).status == 304


def test_queries_and_credentials_do_not_reach_what_keeps_recordings(recordings: Recordings) -> None:
    assert recordings.ask(f"{STREAM}/source/0.ts?acl").body == b"0123456789"
    assert recordings.ask(f"{STREAM}/source/0.ts", headers={"Authorization": "AWS x:y"}).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
def test_recordings_are_read_only(recordings: Recordings, method: str) -> None:
    answer = recordings.ask(f"{STREAM}/source/0.ts", method=method)
    assert answer.status == 405
    assert answer.headers["content-type"] == "application/problem+json"
    assert recordings.ask(f"{STREAM}/source/0.ts").body == b"0123456789"


@pytest.mark.parametrize(
    "path",
    [
        "",
        STREAM,
        f"{STREAM}/",
        f"{STREAM}/source",
        f"{STREAM}/source/",
        f"{STREAM}/source/1.ts",
        f"{STREAM}/source/0.ts/x",
        f"{STREAM}/source/0.ts%00",
        f"{STREAM}/source/0.ts%0a",
        f"{STREAM}/source/%200.ts",
        f"{STREAM}/source/{'x' * 600}",
        f"{STREAM}/../secrets.json",
        f"{STREAM}/../../secrets.json",
        f"{STREAM}/%2e%2e/secrets.json",
        f"{STREAM}/%2E%2E%2Fsecrets.json",
        f"{STREAM}/..%2fsecrets.json",
        f"{STREAM}/..%2f..%2fsecrets.json",
        f"{STREAM}/source/..%2f..%2f..%2fsecrets.json",
        f"{STREAM}/%252e%252e/secrets.json",
        f"{STREAM}/..%5csecrets.json",
        f"{STREAM}/source/%c0%ae%c0%ae/secrets.json",
        "../secrets.json",
        "%2e%2e/%2e%2e/etc/passwd",
        "..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
        f"{STREAM}/.hidden.ts",
        f"{STREAM}/%2ehidden.ts",
        f"{STREAM}/source/.unfinished-0.ts",
        f"{STREAM}/.folder/0.ts",
        ".unfinished/0.ts",
        f"{'x' * 36}/0.ts",
    ],
)
def test_what_is_no_object_is_not_found(recordings: Recordings, path: str) -> None:
    if recordings.directory is not None:
        (recordings.directory.parent / "secrets.json").write_text("SECRET")
        for hidden in (".hidden.ts", "source/.unfinished-0.ts", ".folder/0.ts", "../.unfinished/0.ts"):
            file = recordings.directory / STREAM / hidden
            file.parent.mkdir(exist_ok=True)
            file.write_text("SECRET")
    answer = recordings.ask(path)
    assert answer.status in {400, 404}
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers.keys().isdisjoint({"location", "etag"})
    assert json.loads(answer.body)["status"] == answer.status


@pytest.mark.parametrize("recordings", ["disk"], indirect=True)
def test_no_link_leads_out_of_the_recordings(recordings: Recordings, tmp_path: Path) -> None:
    assert recordings.directory is not None
    (tmp_path / "0.ts").write_text("SECRET")
    folder = recordings.directory / STREAM
    (folder / "link.ts").symlink_to(tmp_path / "0.ts")
    (folder / "within.ts").symlink_to("source/0.ts")
    (folder / "linked").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe.ts")
    for name in ("link.ts", "within.ts", "linked/0.ts", "pipe.ts"):
        answer = recordings.ask(f"{STREAM}/{name}")
        assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json"), name
