"""A stream becomes a recording: shipped while it runs, playable when it ends, with its ladder soon after."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from uuid import UUID

import pytest

from archive.objects.keys import SEGMENT
from archive.shipping.shipper import ShipperPace
from runtime.ids import uuid7
from tests.integration.archive.clips import Clip, make_sound, pictures_of, sound_of
from tests.integration.archive.house import CHANNEL, House, durations_ms, running, until
from tests.integration.archive.media_server import MediaServerDisk

# One frame at 30 a second, in ticks of 1/90,000 s.
FRAME_TICKS = 3_000
# Two are promised, on a machine that does nothing else (bench has the figures); waiting in vain takes ten.
SECONDS_MAX = 8.0


async def stream(house: House, clip: Clip) -> UUID:
    """Write a whole stream to the media server's disk, and end it."""
    stream_id = await house.started()
    disk = MediaServerDisk(house.hls, stream_id)
    for body, duration_ms in zip(clip.segments, clip.durations_ms, strict=True):
        disk.begin(body)
        disk.close(body, duration_ms)
    await house.ended(stream_id)
    return stream_id


@pytest.mark.heavy  # seconds are counted, and an encoder is at work
async def test_a_stream_becomes_a_recording_and_a_ladder(house: House, clip: Clip, tmp_path: Path) -> None:
    async with running(house.shipper(), house.finaliser(), house.worker(), house.planner(), house.completion()):
        stream_id = await house.started()
        disk = MediaServerDisk(house.hls, stream_id)
        for number, (body, duration_ms) in enumerate(zip(clip.segments, clip.durations_ms, strict=True)):
            disk.begin(body)
            disk.close(body, duration_ms)
            closed_at = time.monotonic()
            await house.until_shipped(stream_id, number + 1)
            assert time.monotonic() - closed_at < SECONDS_MAX
        await house.ended(stream_id)
        ended_at = time.monotonic()
        await house.until_status(stream_id, "processing", "completed")
        assert time.monotonic() - ended_at < SECONDS_MAX
        done = await house.until_status(stream_id, "completed")
    assert (done.duration_ms, list(done.renditions)) == (8000, ["source", "480p"])

    published, *_, completed = await house.said()
    assert published[0] == "recording.published"
    assert published[1]["duration_seconds"] == 8.0
    assert published[1]["playback_path"] == f"/recordings/{stream_id}/master.m3u8"
    assert published[1]["channel_id"] == str(CHANNEL)
    first_written_at = (house.hls / str(stream_id) / "0.ts").stat().st_mtime
    begins = datetime.fromisoformat(published[1]["timeline"][0]["at"])
    assert published[1]["timeline"][0]["at_seconds"] == 0
    assert abs(begins.timestamp() - (first_written_at - clip.durations_ms[0] / 1000)) < 0.001
    assert published[1]["visibility"] == "public"
    assert (completed[0], completed[1]["renditions"]) == ("recording.completed", ["source", "480p"])

    master = await house.text(f"{stream_id}/master.m3u8")
    assert 'RESOLUTION=1280x720,CODECS="avc1.42e01f,mp4a.40.2",FRAME-RATE=30.000\nsource/index.m3u8' in master
    assert "RESOLUTION=854x480" in master
    assert "480p/index.m3u8" in master
    await check_frames(house, stream_id, tmp_path)


async def check_frames(house: House, stream_id: UUID, tmp_path: Path) -> None:
    """Every picture and every packet of sound of the source is in the rendition, at its own time."""
    source_keys = await house.pieces(f"{stream_id}/source/index.m3u8")
    chunk_keys = await house.pieces(f"{stream_id}/480p/index.m3u8")
    assert len(chunk_keys) == 2
    source_file = await house.fetched(source_keys, tmp_path / "source.ts")
    rendition_file = await house.fetched(chunk_keys, tmp_path / "480p.ts")
    source, rendition = pictures_of(source_file), pictures_of(rendition_file)
    assert (rendition.width_px, rendition.height_px) == (854, 480)
    assert rendition.times == source.times
    assert set(source.key_times) <= set(rendition.key_times)
    steps = {after - before for before, after in zip(rendition.times, rendition.times[1:], strict=False)}
    assert steps == {FRAME_TICKS}
    assert sound_of(rendition_file) == sound_of(source_file)
    borders = [pictures_of(await house.fetched([key], tmp_path / "one.ts")).times[0] for key in chunk_keys]
    assert set(borders) <= set(source.key_times)
    index = await house.text(f"{stream_id}/480p/index.m3u8")
    assert sum(durations_ms(index)) == sum(durations_ms(await house.text(f"{stream_id}/source/index.m3u8"))) == 8000


async def test_a_small_source_is_complete_at_once(house: House, small_clip: Clip) -> None:
    async with running(house.shipper(), house.finaliser(), house.planner(), house.completion()):
        stream_id = await stream(house, small_clip)
        done = await house.until_status(stream_id, "completed")
    assert list(done.renditions) == ["source"]
    assert await house.outcomes() == ["recording.published", "recording.completed"]


async def test_a_reconnect_is_a_discontinuity_in_both_renditions(house: House, clip: Clip) -> None:
    async with running(house.shipper(), house.finaliser(), house.worker(), house.planner(), house.completion()):
        stream_id = await house.started()
        disk = MediaServerDisk(house.hls, stream_id)
        for body, duration_ms in zip(clip.segments[:3], clip.durations_ms[:3], strict=True):
            disk.close(body, duration_ms)
        disk.reconnect()
        disk.close(clip.segments[0], clip.durations_ms[0])
        await house.ended(stream_id)
        await house.until_status(stream_id, "completed")
    source = (await house.text(f"{stream_id}/source/index.m3u8")).splitlines()
    rendition = (await house.text(f"{stream_id}/480p/index.m3u8")).splitlines()
    assert source.count("#EXT-X-DISCONTINUITY") == rendition.count("#EXT-X-DISCONTINUITY") == 1
    assert source[source.index("#EXT-X-DISCONTINUITY") + 2] == "3.ts"
    # 4 s chunks: 0-1, 2, and the one after the reconnect.
    assert rendition[rendition.index("#EXT-X-DISCONTINUITY") + 2] == "2-1.ts"


async def test_sound_before_the_first_key_frame_is_kept_in_both_renditions(
    house: House, clip: Clip, tmp_path: Path
) -> None:
    """After each connect nginx-rtmp writes sound alone until the publisher's next key frame."""
    sound = make_sound(tmp_path / "sound")
    async with running(house.shipper(), house.finaliser(), house.worker(), house.planner(), house.completion()):
        stream_id = await house.started()
        disk = MediaServerDisk(house.hls, stream_id)
        disk.close(sound, 2000)
        disk.close(clip.segments[0], clip.durations_ms[0])
        disk.close(clip.segments[1], clip.durations_ms[1])
        # A publisher that comes back and goes before its first key frame leaves a chunk without any picture.
        disk.reconnect()
        disk.close(sound, 2000)
        await house.ended(stream_id)
        done = await house.until_status(stream_id, "completed")
    assert list(done.renditions) == ["source", "480p"]
    source = await house.fetched(await house.pieces(f"{stream_id}/source/index.m3u8"), tmp_path / "source.ts")
    rendition = await house.fetched(await house.pieces(f"{stream_id}/480p/index.m3u8"), tmp_path / "480p.ts")
    assert len(pictures_of(rendition).times) == len(pictures_of(source).times) == 120
    assert [digest for _, digest in sound_of(rendition)] == [digest for _, digest in sound_of(source)]


async def test_a_stream_without_media_fails_and_says_so(house: House) -> None:
    async with running(house.shipper(), house.finaliser()):
        stream_id = await house.started()
        await house.ended(stream_id)
        failed = await house.until_status(stream_id, "failed")
    assert failed.failure == "no media arrived"
    assert failed.published_at is None
    ((kind, data),) = await house.said()
    assert (kind, data["reason"]) == ("recording.failed", "no media arrived")


async def test_media_that_is_none_fails_and_says_why(house: House) -> None:
    async with running(house.shipper(), house.finaliser()):
        stream_id = await house.started()
        disk = MediaServerDisk(house.hls, stream_id)
        for _ in range(2):
            disk.close(b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:1/secret\n" * 50, 2000)
        await house.ended(stream_id)
        failed = await house.until_status(stream_id, "failed")
    assert failed.failure is not None
    assert failed.failure.startswith("its media cannot be used")


async def test_segments_that_left_the_window_are_measured(house: House, clip: Clip) -> None:
    stream_id = await house.started()
    disk = MediaServerDisk(house.hls, stream_id, window_segments=2)
    for body, duration_ms in zip(clip.segments, clip.durations_ms, strict=True):
        disk.close(body, duration_ms)
    disk.reconnect()
    for body, duration_ms in zip(clip.segments, clip.durations_ms, strict=True):
        disk.close(body, duration_ms)
    await house.ended(stream_id)
    async with running(house.shipper(), house.finaliser()):
        await house.until_status(stream_id, "processing")
    index = await house.text(f"{stream_id}/source/index.m3u8")
    assert durations_ms(index) == [2000] * 8
    lines = index.splitlines()
    assert lines.count("#EXT-X-DISCONTINUITY") == 1
    assert lines[lines.index("#EXT-X-DISCONTINUITY") + 2] == "4.ts"


async def test_a_killed_media_servers_last_segment_is_kept(house: House, clip: Clip) -> None:
    stream_id = await house.started()
    disk = MediaServerDisk(house.hls, stream_id)
    disk.close(clip.segments[0], clip.durations_ms[0])
    disk.abandon(clip.segments[1])
    async with running(house.shipper(), house.finaliser()):
        await house.until_shipped(stream_id, 1)
        assert await house.recordings.shipped(stream_id) == {0}
        await house.ended(stream_id)
        published = await house.until_status(stream_id, "processing")
    assert published.duration_ms == 4000


async def test_a_last_segment_that_comes_late_is_waited_for(house: House, clip: Clip) -> None:
    async with running(house.shipper(), house.finaliser()):
        stream_id = await house.started()
        disk = MediaServerDisk(house.hls, stream_id)
        disk.close(clip.segments[0], clip.durations_ms[0])
        disk.begin(clip.segments[1])
        # However slow this test is: the media server has not been silent for so long that it must be dead.
        soon = time.time() + 60
        os.utime(disk.directory / "1.ts", (soon, soon))
        await house.until_shipped(stream_id, 1)
        await house.ended(stream_id)

        async def follows_the_end() -> bool:
            return stream_id in await house.recordings.unsettled()

        await until(follows_the_end)
        # So long the media server takes; the shipper has seen the end by then.
        await asyncio.sleep(0.5)
        disk.close(clip.segments[1], clip.durations_ms[1])
        published = await house.until_status(stream_id, "processing")
    assert published.duration_ms == 4000


async def test_a_shipper_that_comes_back_ships_only_the_rest(house: House, clip: Clip) -> None:
    stream_id = await house.started()
    disk = MediaServerDisk(house.hls, stream_id)
    disk.close(clip.segments[0], clip.durations_ms[0])
    async with running(house.shipper()):
        await house.until_shipped(stream_id, 1)
    # The object is marked, so that a second upload of it would be seen.
    marked = b"x" * len(clip.segments[0])
    await house.objects.put_bytes(f"{stream_id}/source/0.ts", marked, SEGMENT)
    disk.close(clip.segments[1], clip.durations_ms[1])
    async with running(house.shipper()):
        await house.until_shipped(stream_id, 2)
    assert await house.objects.get_bytes(f"{stream_id}/source/0.ts", bytes_max=1 << 22) == marked


async def test_nothing_is_published_while_the_store_lacks_a_segment(house: House, clip: Clip) -> None:
    async with running(house.shipper()):
        stream_id = await stream(house, clip)

        async def settled() -> bool:
            return bool(await house.recordings.settled_among([stream_id]))

        await until(settled)
    await house.objects.delete(f"{stream_id}/source/1.ts")
    await house.objects.put_bytes(f"{stream_id}/source/2.ts", b"short", SEGMENT)
    async with running(house.finaliser()):

        async def looked_at_again() -> bool:
            return await house.recordings.shipped(stream_id) == {0, 3}

        await until(looked_at_again)
    assert await house.said() == []
    # The shipper still has the files: it ships them again, and then it plays.
    async with running(house.shipper(), house.finaliser()):
        await house.until_status(stream_id, "processing")
    await house.pieces(f"{stream_id}/source/index.m3u8")


async def test_local_segments_go_only_after_the_recording_plays(house: House, small_clip: Clip) -> None:
    pace = ShipperPace(poll_seconds=0.05, keep_seconds=0.0, sweep_seconds=0.05)
    async with running(house.shipper(pace)):
        kept = await stream(house, small_clip)
        removed = await stream(house, small_clip)

        async def settled() -> bool:
            return await house.recordings.settled_among([kept, removed]) == {kept, removed}

        await until(settled)
        # One of the two plays: the other one's local segments are still the only copy that is known to be whole.
        await house.pool.execute(
            "update recordings set status = 'processing', duration_ms = 1, published_at = now() where stream_id = $1",
            removed,
        )
        await until(lambda: asyncio.to_thread(lambda: not (house.hls / str(removed)).exists()))
        assert len(list((house.hls / str(kept)).glob("*.ts"))) == 2


async def test_directories_that_are_no_streams_are_left_alone(house: House, small_clip: Clip) -> None:
    for name in ("live", "..odd", str(uuid7()).upper()):
        MediaServerDisk(house.hls, name).close(small_clip.segments[0], 2000)
    async with running(house.shipper(), house.finaliser(), house.planner(), house.completion()):
        stream_id = await stream(house, small_clip)
        await house.until_status(stream_id, "completed")
    assert await house.pool.fetchval("select count(distinct stream_id) from segments") == 1


@pytest.mark.parametrize("order", ["started first", "ended first", "all twice"])
async def test_starts_and_ends_may_come_twice_and_in_any_order(house: House, order: str, small_clip: Clip) -> None:
    stream_id = uuid7()
    MediaServerDisk(house.hls, stream_id).close(small_clip.segments[0], 2000)
    steps: dict[str, list[Callable[[UUID], Awaitable[object]]]] = {
        "started first": [house.started, house.ended],
        "ended first": [house.ended, house.started],
        "all twice": [house.started, house.started, house.ended, house.ended, house.started],
    }
    for step in steps[order]:
        await step(stream_id)
    async with running(house.shipper(), house.finaliser(), house.planner(), house.completion()):
        done = await house.until_status(stream_id, "completed")
        for step in steps["all twice"]:
            await step(stream_id)
    again = await house.recording(stream_id)
    assert (done.title, done.channel_name) == ("Engines", "ada")
    assert (again.status, again.ended_at, again.published_at) == ("completed", done.ended_at, done.published_at)
    assert await house.outcomes() == ["recording.published", "recording.completed"]
