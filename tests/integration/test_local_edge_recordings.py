"""Recordings through the edge, from a disk and from an S3 store: as they are, for those who may, and nothing else."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from archive.objects.keys import SEGMENT
from deploy.local import Stack
from runtime.objects_disk import DiskObjects
from runtime.objects_s3 import public_read_policy
from tests.engines import S3
from tests.integration.edge import Answer, PlaybackTwin, ask, wait_for

STREAM = "01922222-2222-7222-8222-222222222222"
EXPOSED = "Content-Length, Content-Range, Content-Disposition, ETag"


@dataclass(frozen=True)
class Recordings:
    """An edge, and where it has its recordings from."""

    port: int
    archive_port: int
    put: Callable[[str, bytes, str], None]
    directory: Path | None
    archive: PlaybackTwin = field(default_factory=PlaybackTwin)

    def ask(self, path: str, *, method: str = "GET", headers: dict[str, str] | None = None) -> Answer:
        """Ask for something below the recordings."""
        return ask(self.port, f"/recordings/{path}", method=method, headers=headers)


@pytest.fixture(scope="module", params=["disk", "s3"])
def recordings(request: pytest.FixtureRequest, module_stack: Callable[..., Stack]) -> Iterator[Recordings]:
    made = _on_disk(module_stack) if request.param == "disk" else _on_s3(module_stack)
    made.put(f"{STREAM}/source/0.ts", b"0123456789", "video/mp2t")
    made.put(f"{STREAM}/master.m3u8", b"#EXTM3U\n", "application/vnd.apple.mpegurl")
    with made.archive.on(made.archive_port):
        yield made


def _on_disk(module_stack: Callable[..., Stack]) -> Recordings:
    stack = module_stack("nginx", profile="solo")
    directory = Path(stack.environment()["LIVESTREAM_ARCHIVE_DISK_DIRECTORY"])

    def put(key: str, body: bytes, _: str) -> None:
        async def work() -> None:
            async with DiskObjects(directory) as objects:
                await objects.put_bytes(key, body, SEGMENT)

        asyncio.run(work())

    return Recordings(stack.ports["edge"], stack.ports["solo"], put, directory)


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

    return Recordings(stack.ports["edge"], stack.ports["archive"], put, None)


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
        assert answer.headers["access-control-expose-headers"] == EXPOSED
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


def test_a_download_is_a_file_to_keep_and_one_that_was_cut_off_is_resumed(recordings: Recordings) -> None:
    body, name = os.urandom(3_000_000), f"{STREAM}/download/source-1.mp4"
    recordings.put(name, body, "video/mp4")
    head = recordings.ask(name, method="HEAD")
    assert (head.status, head.headers["content-type"]) == (200, "video/mp4")
    assert head.headers["content-disposition"] == f'attachment; filename="{STREAM}-source-1.mp4"'
    assert "immutable" in head.headers["cache-control"]
    assert "content-disposition" not in recordings.ask(f"{STREAM}/source/0.ts").headers
    assert "content-disposition" not in recordings.ask(f"{STREAM}/download/none-1.mp4").headers

    cut_off = recordings.ask(name, headers={"Range": "bytes=1234567-"})
    assert (cut_off.status, body[:1_234_567] + cut_off.body) == (206, body)
    assert cut_off.headers["content-range"] == "bytes 1234567-2999999/3000000"
    rest = recordings.ask(name, headers={"Range": "bytes=2999990-", "If-Range": head.headers["etag"]})
    assert (rest.status, rest.body) == (206, body[2_999_990:])


@pytest.mark.parametrize(
    ("name", "content_type"), [("poster-1.jpg", "image/jpeg"), ("storyboard/1.vtt", "text/vtt")], ids=["jpg", "vtt"]
)
def test_pictures_have_their_media_types(recordings: Recordings, name: str, content_type: str) -> None:
    recordings.put(f"{STREAM}/{name}", b"0123456789", content_type)
    answer = recordings.ask(f"{STREAM}/{name}")
    assert (answer.status, answer.headers["content-type"].partition(";")[0]) == (200, content_type)
    assert "immutable" in answer.headers["cache-control"]


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


PRIVATE, GONE, NEW = (f"0192222{n}-2222-7222-8222-222222222222" for n in (3, 4, 5))
GRANT = "g" * 43


def test_who_may_play_is_asked_once_and_not_per_segment(recordings: Recordings) -> None:
    recordings.put(f"{NEW}/source/0.ts", b"0123456789", "video/mp2t")
    began = time.monotonic()
    for _ in range(20):
        assert recordings.ask(f"{NEW}/source/0.ts").status == 200
    # Twice if an answer's five seconds end meanwhile, and more often on a machine that took so long.
    assert 1 <= recordings.archive.asked.count(NEW) <= 2 + (time.monotonic() - began) // 5


def test_a_private_recording_takes_its_grant_and_stays_out_of_caches(recordings: Recordings) -> None:
    recordings.archive.private[PRIVATE] = GRANT
    recordings.put(f"{PRIVATE}/source/0.ts", b"0123456789", "video/mp2t")
    recordings.put(f"{PRIVATE}/master.m3u8", b"#EXTM3U\n", "application/vnd.apple.mpegurl")
    for cookie in ({}, {"Cookie": f"livestream_playback={'x' * 43}"}, {"Cookie": f"livestream_playback={GRANT}x"}):
        for method in ("GET", "HEAD"):
            answer = recordings.ask(f"{PRIVATE}/source/0.ts", method=method, headers=cookie)
            assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")
    let_in = {"Cookie": f"other=1; livestream_playback={GRANT}"}
    part = recordings.ask(f"{PRIVATE}/source/0.ts", headers={**let_in, "Range": "bytes=2-4"})
    assert (part.status, part.body, part.headers["cache-control"]) == (206, b"234", "private, max-age=3600")
    master = recordings.ask(f"{PRIVATE}/master.m3u8", headers=let_in)
    assert (master.status, master.headers["cache-control"]) == (200, "private, no-cache")
    assert recordings.ask(f"{PRIVATE}/source/0.ts", method="HEAD", headers=let_in).status == 200
    # What one was let in to, the next is not.
    assert recordings.ask(f"{PRIVATE}/source/0.ts").status == 404


@pytest.mark.parametrize("recordings", ["disk"], indirect=True)
def test_what_is_deleted_is_gone_within_seconds(recordings: Recordings) -> None:
    recordings.put(f"{GONE}/source/0.ts", b"0123456789", "video/mp2t")
    assert recordings.ask(f"{GONE}/source/0.ts").status == 200
    recordings.archive.refused.add(GONE)
    wait_for(lambda: recordings.ask(f"{GONE}/source/0.ts").status == 404, "the edge's asking again")


def test_while_the_archive_is_away_known_answers_go_on_and_unknown_ones_are_none(
    own_stack: Callable[..., Stack],
) -> None:
    recordings = _on_disk(own_stack)
    for recording in (STREAM, NEW):
        recordings.put(f"{recording}/source/0.ts", b"0123456789", "video/mp2t")
    with recordings.archive.on(recordings.archive_port):
        assert recordings.ask(f"{STREAM}/source/0.ts").status == 200
    until = time.monotonic() + 5.5
    while time.monotonic() < until:
        assert recordings.ask(f"{STREAM}/source/0.ts").status == 200
        time.sleep(0.5)
    unknown = recordings.ask(f"{NEW}/source/0.ts")
    assert (unknown.status, unknown.headers["content-type"]) == (502, "application/problem+json")
    assert unknown.headers["retry-after"] == "2"
    with recordings.archive.on(recordings.archive_port):
        assert recordings.ask(f"{NEW}/source/0.ts").status == 200


def test_nobody_asks_the_archive_the_edges_question_from_outside(recordings: Recordings) -> None:
    for path in ("/.playback", f"/internal/recordings/{STREAM}/playback", "/recordings/../.playback"):
        assert ask(recordings.port, path).status == 404, path
