"""Clips: the very pictures that were asked for, in step with their sound, whatever becomes of the original."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from uuid import UUID

import pytest
from pydantic import SecretStr

from archive.clips.store import CLIP
from archive.jobs.jobs import LeasedJob
from archive.objects.keys import source_segment_key
from archive.store import Recording
from runtime.objects_s3 import S3Objects, S3Place
from tests.engines import S3
from tests.integration.archive.clipping import asked, clip_kind
from tests.integration.archive.clips import Clip, pictures_of
from tests.integration.archive.counted import FRAME_TICKS, Seen, make_counted, recorded, seen_in
from tests.integration.archive.house import House, durations_ms, running

# A packet of AAC at 48 kHz, in ticks of 1/90,000 s.
PACKET_TICKS = 1_920


@pytest.fixture(scope="session")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """8 s in four segments, pictures 0 to 239."""
    return make_counted(tmp_path_factory.mktemp("counted") / "first", seconds=8)


@pytest.fixture(scope="session")
def counted_on(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """4 s more after a reconnect: pictures 240 to 359, and timestamps from elsewhere."""
    return make_counted(tmp_path_factory.mktemp("counted") / "second", seconds=4, first=240, start=500)


@pytest.fixture
async def at_work(house: House) -> AsyncIterator[None]:
    async with running(house.worker(clip_kind(house)), house.finaliser()):
        yield


@dataclass(frozen=True)
class Shown:
    """A clip as a player shows it: segment by segment."""

    recording: Recording
    segments: list[Seen]
    durations_ms: list[int]
    playlist: str

    @property
    def numbers(self) -> list[int]:
        return [number for segment in self.segments for number in segment.numbers]


async def shown(house: House, clip_id: UUID, directory: Path) -> Shown:
    recording = await house.until_status(clip_id, "processing", "completed", "failed")
    assert recording.failure is None
    keys = await house.pieces(f"{clip_id}/source/index.m3u8")
    playlist = await house.text(f"{clip_id}/source/index.m3u8")
    segments = [await asyncio.to_thread(seen_in, await house.fetched([key], directory / "segment.ts")) for key in keys]
    return Shown(recording, segments, durations_ms(playlist), playlist)


async def original_times(house: House, original_id: UUID, directory: Path) -> tuple[dict[int, int], dict[str, int]]:
    """The time of every picture by its number, and that of every packet of sound by its hash."""
    pictures: dict[int, int] = {}
    sound: dict[str, int] = {}
    for sequence in await house.recordings.shipped(original_id):
        path = await house.fetched([source_segment_key(original_id, sequence)], directory / "original.ts")
        segment = await asyncio.to_thread(seen_in, path)
        pictures |= {number: time for time, number in segment.pictures}
        sound |= {digest: time for time, digest in segment.sound}
    return pictures, sound


async def check_in_step(house: House, original_id: UUID, clip: Shown, directory: Path, *, reconnects: int = 0) -> None:
    """Every picture and every packet of sound is there, each where it was to the others, both from edge to edge."""
    pictures, sound = await original_times(house, original_id, directory)
    for segment, duration_ms in zip(clip.segments, clip.durations_ms, strict=True):
        assert all(pictures[number] == time for time, number in segment.pictures)
        assert all(sound[digest] == time for time, digest in segment.sound)
        assert abs(len(segment.pictures) * 1000 / 30 - duration_ms) <= 1
    shown_at = [time for segment in clip.segments for time, _ in segment.pictures]
    heard_at = [time for segment in clip.segments for time, _ in segment.sound]
    assert abs(heard_at[0] - shown_at[0]) <= 40 * 90
    assert abs(heard_at[-1] + PACKET_TICKS - shown_at[-1] - FRAME_TICKS) <= 40 * 90
    assert [after - before == FRAME_TICKS for before, after in pairwise(shown_at)].count(False) == reconnects
    assert [abs(after - before - PACKET_TICKS) <= 1 for before, after in pairwise(heard_at)].count(False) == reconnects


async def test_whole_segments_are_copied_and_the_range_is_widened_to_them(
    house: House, at_work: None, counted: Clip, tmp_path: Path
) -> None:
    original_id = await recorded(house, counted)
    clip_id = await asked(house, original_id, 2500, 5000)
    clip = await shown(house, clip_id, tmp_path)
    assert clip.numbers == list(range(60, 180))
    assert clip.durations_ms == [2000, 2000]
    assert "DISCONTINUITY" not in clip.playlist
    assert (clip.recording.clip_of, clip.recording.clip_from_ms, clip.recording.clip_to_ms) == (original_id, 2000, 6000)
    assert (clip.recording.title, clip.recording.channel_name, clip.recording.duration_ms) == ("Engines", "ada", 4000)
    for key, body in zip(await house.pieces(f"{clip_id}/source/index.m3u8"), counted.segments[1:3], strict=True):
        assert await house.objects.get_bytes(key, bytes_max=1 << 20) == body
    # The original may go: its objects are not the clip's.
    for sequence in range(4):
        await house.objects.delete(source_segment_key(original_id, sequence))
    assert (await shown(house, clip_id, tmp_path)).numbers == list(range(60, 180))


@pytest.mark.parametrize(
    ("from_ms", "to_ms", "pictures", "seams"),
    [
        pytest.param(500, 7240, range(15, 217), 2, id="from the middle of one segment to that of another"),
        pytest.param(2233, 3767, range(67, 113), 0, id="within one segment"),
        pytest.param(6500, 8000, range(195, 240), 0, id="the last seconds"),
        pytest.param(0, 1950, range(58), 0, id="the beginning"),
        pytest.param(1967, 6033, range(59, 181), 1, id="one picture before and after some segments"),
        pytest.param(1990, 4010, range(60, 120), 0, id="less than half a picture before and after a segment"),
    ],
)
async def test_exact_edges_are_the_pictures_that_were_asked_for(
    house: House, at_work: None, counted: Clip, tmp_path: Path, from_ms: int, to_ms: int, pictures: range, seams: int
) -> None:
    original_id = await recorded(house, counted)
    clip = await shown(house, await asked(house, original_id, from_ms, to_ms, exact=True), tmp_path)
    assert clip.numbers == list(pictures)
    assert abs(sum(clip.durations_ms) - (to_ms - from_ms)) <= 1000 / 30
    assert abs((clip.recording.duration_ms or 0) - len(pictures) * 1000 / 30) <= 2
    await check_in_step(house, original_id, clip, tmp_path)
    assert clip.playlist.count("#EXT-X-DISCONTINUITY\n") == seams


async def test_a_clip_over_a_reconnect_has_all_of_both_sides(
    house: House, at_work: None, counted: Clip, counted_on: Clip, tmp_path: Path
) -> None:
    original_id = await recorded(house, counted, counted_on)
    clip = await shown(house, await asked(house, original_id, 5000, 11_000, exact=True), tmp_path)
    assert clip.numbers == list(range(150, 330))
    assert clip.recording.duration_ms == 6000
    assert clip.playlist.count("#EXT-X-DISCONTINUITY\n") == 3
    await check_in_step(house, original_id, clip, tmp_path, reconnects=1)
    whole = await shown(house, await asked(house, original_id, 6000, 10_000), tmp_path)
    assert whole.numbers == list(range(180, 300))
    assert whole.playlist.count("#EXT-X-DISCONTINUITY\n") == 1


async def test_what_the_original_lacks_the_clip_lacks_and_says_so(
    house: House, at_work: None, counted: Clip, tmp_path: Path
) -> None:
    original_id = await recorded(house, counted, missing=(1,))
    await house.objects.delete(source_segment_key(original_id, 3))
    clip = await shown(house, await asked(house, original_id, 0, 6000), tmp_path)
    assert clip.numbers == [*range(60), *range(120, 180)]
    assert clip.recording.partial
    assert [gap["first_sequence"] for gap in clip.recording.missing] == [1]


async def test_a_clip_of_which_nothing_is_there_fails_and_says_why(house: House, counted: Clip) -> None:
    original_id = await recorded(house, counted)
    for sequence in range(4):
        await house.objects.delete(source_segment_key(original_id, sequence))
    clip_id = await asked(house, original_id, 500, 3000, exact=True)
    async with running(house.worker(clip_kind(house), attempts_max=1)):
        failed = await house.until_status(clip_id, "failed")
    assert failed.failure == "nothing of that range is in the store"
    assert [kind for kind, _ in await house.said()] == ["recording.failed"]


@pytest.mark.parametrize("late_first", [False, True])
async def test_of_two_workers_on_one_clip_one_wins_and_the_other_leaves_nothing(
    house: House, counted: Clip, tmp_path: Path, *, late_first: bool
) -> None:
    original_id = await recorded(house, counted)
    clip_id = await asked(house, original_id, 500, 3500, exact=True)
    kind, jobs = clip_kind(house), house.jobs(lease_seconds=0.0)
    leases: list[LeasedJob] = []
    for _ in range(2):
        leased = await jobs.lease([CLIP])
        assert leased is not None
        leases.append(leased)
    results = [await kind.do(leased, lambda _: None) for leased in leases]
    for at in (0, 1) if late_first else (1, 0):
        async with house.outbox.transaction() as transaction:
            if at == 1:
                await kind.finish(transaction, leases[at], results[at])
                await jobs.finish(transaction.connection, leases[at], results[at])
        if at == 0:
            await kind.discard(leases[at], results[at])
    async with running(house.finaliser()):
        clip = await shown(house, clip_id, tmp_path)
    assert clip.numbers == list(range(15, 105))
    assert not clip.recording.partial
    named = {f"{clip_id}/source/{sequence}.ts" for sequence in await house.recordings.shipped(clip_id)}
    stored = {stored.key async for stored in house.objects.list(f"{clip_id}/source/")}
    assert stored == named | {f"{clip_id}/source/index.m3u8"}


async def test_a_recording_without_sound_is_cut_too(house: House, at_work: None, tmp_path: Path) -> None:
    silent = make_counted(tmp_path / "silent", seconds=4, sound=False)
    original_id = await recorded(house, silent)
    clip = await shown(house, await asked(house, original_id, 1000, 3000, exact=True), tmp_path)
    assert clip.numbers == list(range(30, 90))


async def test_no_clip_job_is_left_when_all_is_made(house: House, at_work: None, counted: Clip) -> None:
    original_id = await recorded(house, counted)
    clip_id = await asked(house, original_id, 0, 8000)
    await house.until_status(clip_id, "processing", "completed")
    row = await house.pool.fetchrow("select state, result from jobs where stream_id = $1 and kind = 'clip'", clip_id)
    assert row is not None
    assert row["state"] == "done"
    assert json.loads(row["result"])["durations_ms"] == [2000] * 4
    assert not list(house.work.iterdir())


@pytest.mark.heavy  # encoders are at work
async def test_an_exact_clip_gets_its_ladder_picture_by_picture(house: House, clip: Clip, tmp_path: Path) -> None:
    original_id = await recorded(house, clip)
    clip_id = await asked(house, original_id, 500, 7_240, exact=True)
    planner = house.planner()
    worker = house.worker(clip_kind(house), house.chunk_kind())
    async with running(house.finaliser(), planner, worker, house.completion()):
        done = await house.until_status(clip_id, "completed", "failed", seconds=120)
    assert done.failure is None
    assert "480p" in done.renditions
    shown_in = [
        pictures_of(await house.fetched(await house.pieces(f"{clip_id}/{name}/index.m3u8"), tmp_path / "all.ts")).times
        for name in ("source", "480p")
    ]
    assert len(shown_in[0]) == 217 - 15
    assert shown_in[0] == shown_in[1]
    assert {after - before for before, after in pairwise(shown_in[0])} == {FRAME_TICKS}


async def test_a_clip_is_made_within_an_s3_store_too(
    house: House, s3: S3, bucket: str, counted: Clip, tmp_path: Path
) -> None:
    place = S3Place(s3.endpoint_url, bucket, SecretStr(s3.access_key_id), SecretStr(s3.secret_access_key))
    async with S3Objects(place, public_read=True) as objects:
        on_s3 = House(house.pool, objects, house.hls, house.work)
        original_id = await recorded(on_s3, counted)
        clip_id = await asked(on_s3, original_id, 500, 8_000, exact=True)
        async with running(on_s3.worker(clip_kind(on_s3)), on_s3.finaliser()):
            clip = await shown(on_s3, clip_id, tmp_path)
    assert clip.numbers == list(range(15, 240))
