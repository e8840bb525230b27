"""Downloads: one MP4 file of a rendition, whole and on one line of time, asked for over the API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import psutil
import pytest

from archive.downloads.kind import Downloads
from archive.downloads.part import downloads
from archive.downloads.requests import DownloadExpiry, DownloadRequests
from archive.media.playlist import PlaylistEntry
from archive.objects.keys import SEGMENT
from runtime.http_server import HttpServer
from runtime.objects import ObjectStore, StoreUnavailable
from runtime.settings import HttpSettings
from tests.contract.held_client import HeldClient, held_client
from tests.integration.archive.callers import ADA, BOB, Person, Tokens
from tests.integration.archive.clips import Clip, make_clip, make_sound
from tests.integration.archive.house import House, running, until
from tests.integration.archive.playing import Piece, Recorded, add_rendition, fetched_file, parts, playing, tool, worked

KEEP_SECONDS = 600.0


@pytest.fixture(scope="module")
def later_clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """4 s of another encoder run, with timestamps from far on, and B-frames."""
    return make_clip(
        tmp_path_factory.mktemp("clips") / "later", seconds=4, size="320x240", rate=15, start=90_000, b_frames=2
    )


@dataclass
class Played:
    """What is in an MP4 file: times in seconds."""

    duration: float
    pictures: list[float]
    sounds: list[float]
    index_first: bool


async def played(path: Path) -> Played:
    """Decode all of it, and look at every packet."""
    await tool("ffmpeg", "-v", "error", "-i", str(path), "-f", "null", "-")
    argv = ["ffprobe", "-v", "error", "-of", "json", "-show_entries", "format=duration:packet=codec_type,pts_time"]
    told = json.loads(await tool(*argv, str(path)))
    times: dict[str, list[float]] = {"video": [], "audio": []}
    for packet in told["packets"]:
        times[packet["codec_type"]].append(float(packet["pts_time"]))
    body = await asyncio.to_thread(path.read_bytes)
    return Played(
        float(told["format"]["duration"]),
        sorted(times["video"]),
        sorted(times["audio"]),
        index_first=body.index(b"moov") < body.index(b"mdat"),
    )


def gaps(times: list[float]) -> list[float]:
    return [round(after - before, 3) for before, after in pairwise(times)]


@asynccontextmanager
async def served(house: House, **settings: object) -> AsyncIterator[HeldClient]:
    apis = [*downloads(parts(house, archive_download_keep_seconds=KEEP_SECONDS, **settings)).apis]
    async with held_client(HttpServer(apis, settings=HttpSettings(), verifier=Tokens()), apis) as held:
        yield held


@pytest.fixture
async def client(house: House) -> AsyncIterator[HeldClient]:
    async with served(house) as held:
        yield held


async def asked(
    client: HeldClient, stream_id: UUID, rendition: str = "source", token: str | None = None
) -> dict[str, Any]:
    answer = await client.post(f"/api/archives/{stream_id}/download", json={"rendition": rendition}, token=token)
    assert answer.status == 202, answer.body
    body: dict[str, Any] = answer.body
    return body


async def test_a_download_has_every_frame_on_one_line_of_time(
    house: House, client: HeldClient, small_clip: Clip, later_clip: Clip, tmp_path: Path
) -> None:
    # The publisher came back twice: timestamps go from 0 to 4 s, from 90,000 s on, and from 0 again.
    recorded = Recorded().add(small_clip).add(later_clip).add(small_clip)
    stream_id = await playing(house, recorded)
    assert (await client.get(f"/api/archives/{stream_id}/download")).status == 404
    first = await asked(client, stream_id)
    assert (first["status"], first["progress"], first["url"]) == ("pending", 0, None)
    assert (await asked(client, stream_id, token=BOB.token))["status"] == "pending"
    assert await house.pool.fetchval("select count(*) from jobs") == 1
    await worked(house, stream_id, Downloads(parts(house)))

    ready = (await client.get(f"/api/archives/{stream_id}/download")).body
    assert (ready["status"], ready["progress"], ready["failure"]) == ("ready", 1, None)
    assert ready["url"] == f"/recordings/{stream_id}/download/source-1.mp4"
    path = await fetched_file(house, f"{stream_id}/download/source-1.mp4", tmp_path / "download.mp4")
    assert path.stat().st_size == ready["size_bytes"]
    found = await played(path)
    assert found.index_first
    assert abs(found.duration - 12) <= 0.1
    assert len(found.pictures) == 3 * 4 * 15
    # No jump where the publisher came back, in the picture or in the sound.
    assert all(abs(gap - 1 / 15) <= 0.025 for gap in gaps(found.pictures)), gaps(found.pictures)
    assert all(gap <= 0.04 for gap in gaps(found.sounds)), gaps(found.sounds)
    assert list(house.work.iterdir()) == []


async def test_a_rendition_is_joined_from_what_its_playlist_names(
    house: House, client: HeldClient, small_clip: Clip, later_clip: Clip, tmp_path: Path
) -> None:
    recorded = Recorded().add(small_clip).add(later_clip)
    stream_id = await playing(house, recorded)
    # A chunk that could not be made is played from the source.
    entries = [PlaylistEntry("0-3.ts", 4000, False), PlaylistEntry("../source/2.ts", 2000, True)]
    await house.objects.put_bytes(f"{stream_id}/360p/0-3.ts", b"".join(small_clip.segments), SEGMENT)
    await add_rendition(house, stream_id, "360p", entries, [recorded.pieces[0], recorded.pieces[2]], size=(320, 240))
    await asked(client, stream_id, "360p")
    await worked(house, stream_id, Downloads(parts(house)))
    found = await played(await fetched_file(house, f"{stream_id}/download/360p-1.mp4", tmp_path / "download.mp4"))
    assert abs(found.duration - 6) <= 0.1
    assert len(found.pictures) == 6 * 15
    assert (await client.get(f"/api/archives/{stream_id}/download")).status == 404
    assert (await client.get(f"/api/archives/{stream_id}/download?rendition=360p")).body["status"] == "ready"


async def test_sound_alone_is_a_download_too(
    house: House, client: HeldClient, small_clip: Clip, tmp_path: Path
) -> None:
    sound = Piece(make_sound(tmp_path / "sound", seconds=2), 2000)
    alone = await playing(house, Recorded([sound]), width_px=0, height_px=0)
    # An MP4 file has to know its picture from the start: what comes before the first one is left out.
    before = await playing(house, Recorded([sound]).add(small_clip))
    after = await playing(house, Recorded([*Recorded().add(small_clip).pieces, replace(sound, discontinuity=True)]))
    for stream_id, seconds, pictures in ((alone, 2.0, 0), (before, 4.0, 60), (after, 6.0, 60)):
        await asked(client, stream_id)
        await worked(house, stream_id, Downloads(parts(house)))
        path = await fetched_file(house, f"{stream_id}/download/source-1.mp4", tmp_path / f"{stream_id}.mp4")
        found = await played(path)
        assert len(found.pictures) == pictures
        assert abs(found.duration - seconds) <= 0.1, found.duration


@pytest.mark.parametrize("gone", [0, 1])
async def test_a_download_that_fails_says_why_and_may_be_asked_for_again(
    house: House, client: HeldClient, small_clip: Clip, gone: int
) -> None:
    stream_id = await playing(house, Recorded().add(small_clip))
    key = f"{stream_id}/source/{gone}.ts"
    await house.objects.delete(key)
    await asked(client, stream_id)
    await worked(house, stream_id, Downloads(parts(house)))
    failed = (await client.get(f"/api/archives/{stream_id}/download")).body
    assert (failed["status"], failed["failure"], failed["url"]) == ("failed", f"no object {key}", None)
    assert list(house.work.iterdir()) == []
    await house.objects.put_bytes(key, small_clip.segments[gone], SEGMENT)
    assert (await asked(client, stream_id))["status"] == "pending"
    await worked(house, stream_id, Downloads(parts(house)))
    assert (await client.get(f"/api/archives/{stream_id}/download")).body["url"].endswith("/download/source-2.mp4")


class Unreliable:
    """A store that is away for every other read, or does not answer at all."""

    def __init__(self, store: ObjectStore, *, frozen: bool = False) -> None:
        self._store = store
        self._frozen = frozen
        self.reads = 0

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  whatever the store has under this name
        return getattr(self._store, name)

    async def get_file(self, key: str, path: Path) -> int:
        self.reads += 1
        if self._frozen and self.reads > 2:
            await asyncio.Event().wait()
        if self.reads % 2:
            raise StoreUnavailable(f"get {key}", "it is away")
        return await self._store.get_file(key, path)


async def test_a_store_that_is_away_for_a_moment_costs_a_moment(
    house: House, client: HeldClient, small_clip: Clip
) -> None:
    stream_id = await playing(house, Recorded().add(small_clip).add(small_clip))
    store = Unreliable(house.objects)
    await asked(client, stream_id)
    await worked(house, stream_id, Downloads(replace(parts(house), objects=cast(ObjectStore, store))))
    assert (await client.get(f"/api/archives/{stream_id}/download")).body["status"] == "ready"
    assert await house.pool.fetchval("select fence from jobs") == 1
    # The first is looked into for its picture, and then there are four.
    assert store.reads == 2 * 5


async def test_a_worker_that_is_stopped_gives_the_download_back_and_leaves_nothing(
    house: House, client: HeldClient, small_clip: Clip
) -> None:
    stream_id = await playing(house, Recorded().add(small_clip))
    store = Unreliable(house.objects, frozen=True)
    await asked(client, stream_id)
    downloads = Downloads(replace(parts(house), objects=cast(ObjectStore, store)))
    async with running(house.worker(downloads)):

        async def waits_for_the_store() -> bool:
            return store.reads > 2

        await until(waits_for_the_store)
        assert (await client.get(f"/api/archives/{stream_id}/download")).body["status"] == "making"
    assert (await client.get(f"/api/archives/{stream_id}/download")).body["status"] == "pending"
    assert await asyncio.to_thread(lambda: list(house.work.iterdir())) == []
    await until(lambda: asyncio.to_thread(lambda: not encoders()))


def encoders() -> list[psutil.Process]:
    """The children of this process that are an ffmpeg."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            found += [child] if child.name() == "ffmpeg" else []
    return found


async def test_hostile_segments_end_as_failed(house: House, client: HeldClient) -> None:
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nhttp://127.0.0.1:1/x.ts\n#EXT-X-ENDLIST\n"
    stream_id = await playing(house, Recorded([Piece(playlist, 2000)]), height_px=0)
    await asked(client, stream_id)
    await worked(house, stream_id, Downloads(parts(house)))
    failed = (await client.get(f"/api/archives/{stream_id}/download")).body
    assert failed["status"] == "failed"
    assert "Format not on whitelist" in failed["failure"]
    assert str(house.work) not in failed["failure"]


async def test_a_full_work_directory_refuses_and_names_what_is_needed(house: House, small_clip: Clip) -> None:
    stream_id = await playing(house, Recorded().add(small_clip))
    requests = DownloadRequests(house.pool, keep_seconds=KEEP_SECONDS)
    wanted = await requests.rendition(stream_id, "source", duration_ms=4000)
    assert wanted is not None
    await requests.ask(stream_id, replace(wanted, bytes_expected=1 << 60))
    await worked(house, stream_id, Downloads(parts(house, archive_disk_reserve_bytes=1000)))
    found = await requests.find(stream_id, wanted)
    assert found is not None
    assert found.status == "failed"
    assert found.failure is not None
    # Once in the work directory and once in the store, on the same disk.
    assert f"takes {(2 << 60) + 1000 + (256 << 20)} bytes" in found.failure
    assert "archive_work_directory" in found.failure


async def test_downloads_stay_a_while_and_longer_when_asked_for_again(
    house: House, client: HeldClient, small_clip: Clip
) -> None:
    stream_id = await playing(house, Recorded().add(small_clip))
    await asked(client, stream_id)
    await worked(house, stream_id, Downloads(parts(house, archive_download_keep_seconds=KEEP_SECONDS)))
    expiry = DownloadExpiry(DownloadRequests(house.pool, keep_seconds=KEEP_SECONDS), house.objects)
    key = f"{stream_id}/download/source-1.mp4"
    now = datetime.now(UTC)
    assert await expiry.remove_expired(now + timedelta(seconds=KEEP_SECONDS - 30)) == 0
    await house.pool.execute(
        "update recording_files set particulars = jsonb_set(particulars, '{expires_at}', '\"2026-01-01T00:00:00Z\"')"
    )
    again = await asked(client, stream_id)
    assert again["status"] == "ready"
    assert datetime.fromisoformat(again["expires_at"]) >= now + timedelta(seconds=KEEP_SECONDS - 30)
    assert await expiry.remove_expired(now) == 0
    assert await house.objects.head(key) is not None

    assert await expiry.remove_expired(now + timedelta(seconds=KEEP_SECONDS + 60)) == 1
    assert await house.objects.head(key) is None
    assert (await client.get(f"/api/archives/{stream_id}/download")).problem == "download-not-found"
    assert (await asked(client, stream_id))["status"] == "pending"
    await worked(house, stream_id, Downloads(parts(house)))
    # Never the old name: caches may keep what they have under it.
    assert (await client.get(f"/api/archives/{stream_id}/download")).body["url"].endswith("/download/source-2.mp4")


REFUSALS = [
    # settings, who, what is sent, status, problem, field, what its message says
    ({}, None, {"rendition": "4k"}, 422, "validation-failed", "body.rendition", "must be one of source"),
    ({}, None, {"rendition": ""}, 422, "validation-failed", "body.rendition", "at least 1"),
    ({}, None, {"rendition": "x" * 33}, 422, "validation-failed", "body.rendition", "at most 32"),
    ({}, None, {"rendition": 7}, 422, "validation-failed", "body.rendition", "string"),
    ({}, None, {"quality": "best"}, 422, "validation-failed", "body.quality", "not permitted"),
    ({"archive_download_bytes_max": 1 << 20}, None, {}, 409, "download-too-large", "body.rendition", "1048576"),
    ({"archive_downloads": "off"}, ADA, {}, 403, "downloads-refused", None, None),
    ({"archive_downloads": "owner"}, None, {}, 403, "downloads-refused", None, None),
    ({"archive_downloads": "owner"}, BOB, {}, 403, "downloads-refused", None, None),
]


@pytest.mark.parametrize(("settings", "who", "sent", "status", "problem", "field", "message"), REFUSALS)
async def test_what_cannot_be_had_is_refused_with_its_limit(
    house: House,
    small_clip: Clip,
    settings: dict[str, object],
    who: Person | None,
    sent: dict[str, object],
    status: int,
    problem: str,
    field: str | None,
    message: str | None,
) -> None:
    stream_id = await playing(house, Recorded().add(small_clip))
    # About 2.5 MB: what is refused is refused for what it would be, before anything is made.
    await house.pool.execute("update renditions set bits_per_second_average = 5000000")
    async with served(house, **settings) as client:
        answer = await client.post(
            f"/api/archives/{stream_id}/download", json=sent, token=None if who is None else who.token
        )
    assert (answer.status, answer.problem) == (status, problem)
    if field is not None:
        assert message is not None
        assert [(one["field"], message in one["message"]) for one in answer.body["errors"]] == [(field, True)]
    assert await house.pool.fetchval("select count(*) from jobs") == 0


async def test_the_owner_alone_may_download_where_the_setting_says_so(house: House, small_clip: Clip) -> None:
    stream_id = await playing(house, Recorded().add(small_clip))
    async with served(house, archive_downloads="owner") as client:
        assert (await asked(client, stream_id, token=ADA.token))["status"] == "pending"
        assert (await client.get(f"/api/archives/{stream_id}/download", token=ADA.token)).status == 200
        assert (await client.get(f"/api/archives/{stream_id}/download", token=BOB.token)).status == 403


async def test_only_what_plays_and_is_seen_can_be_downloaded(
    house: House, client: HeldClient, small_clip: Clip
) -> None:
    path = f"/api/archives/{await house.started()}/download"
    assert (await client.post(path)).problem == "recording-does-not-play"
    assert (await client.get(path)).problem == "recording-does-not-play"
    stream_id = await playing(house, Recorded().add(small_clip))
    path = f"/api/archives/{stream_id}/download"
    await house.pool.execute("update recordings set visibility = 'private'")
    for person, status in ((None, 404), (BOB, 404), (ADA, 202)):
        answer = await client.post(path, token=None if person is None else person.token)
        assert answer.status == status
        answer = await client.get(path, token=None if person is None else person.token)
        assert answer.status == (404 if status == 404 else 200)
    await house.pool.execute(
        "update recordings set deleted_at = now(), purge_due_at = now() + interval '1 day', delete_reason = 'owner'"
    )
    assert (await client.post(path, token=ADA.token)).problem == "recording-is-deleted"
    assert (await client.post(path, token=BOB.token)).problem == "recording-not-found"
