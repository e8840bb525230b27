"""The ladder's chunks: planned while the stream runs, mended at the end, and told of as they are done."""

from __future__ import annotations

from uuid import UUID

from archive.ladder.ladder import LadderStep
from archive.objects.keys import SEGMENT, source_segment_key
from tests.integration.archive.clips import Clip
from tests.integration.archive.house import House, running, until
from tests.integration.archive.media_server import MediaServerDisk

LADDER = (
    LadderStep("480p", lines=480, video_bits_per_second_max=1_400_000),
    LadderStep("360p", lines=360, video_bits_per_second_max=800_000),
)


async def chunk_ranges(house: House, stream_id: UUID) -> list[tuple[int, int]]:
    return [(chunk.first_sequence, chunk.last_sequence) for chunk in await house.chunks(stream_id)]


async def test_the_ladder_is_made_while_the_stream_runs(house: House, clip: Clip) -> None:
    stream_id = await house.started()
    disk = MediaServerDisk(house.hls, stream_id)
    planner = house.planner(ladder=LADDER, with_sound=True, while_live=True)
    async with running(house.shipper(), house.finaliser(), planner, house.worker(), house.completion()):
        for body, duration_ms in zip(clip.segments[:3], clip.durations_ms[:3], strict=True):
            disk.close(body, duration_ms)

        async def first_chunk_done() -> bool:
            return [chunk.state for chunk in await house.chunks(stream_id)] == ["done"]

        # Segments 0 and 1 fill a chunk of 4 s; 2 may yet be joined by another.
        await until(first_chunk_done)
        assert await chunk_ranges(house, stream_id) == [(0, 1)]
        assert (await house.recording(stream_id)).status == "pending"
        assert await house.said() == []
        disk.close(clip.segments[3], clip.durations_ms[3])
        await house.ended(stream_id)
        done = await house.until_status(stream_id, "completed")
    assert list(done.renditions) == ["source", "480p", "360p", "audio"]
    assert done.progress_percent == 100
    assert await chunk_ranges(house, stream_id) == [(0, 1), (2, 3)]
    # What was made while the stream ran is what plays: nobody did it again.
    assert [chunk.fence for chunk in await house.chunks(stream_id)] == [1, 1]
    for rendition in ("480p", "360p", "audio"):
        assert len(await house.pieces(f"{stream_id}/{rendition}/index.m3u8")) == 2
    percents = [facts["percent"] for kind, facts in await house.said() if kind == "recording.progressed"]
    # A slow encoder's heartbeats may tell of tenths between.
    assert percents == sorted(set(percents))
    assert set(percents) <= set(range(50, 100, 10))


async def shipped(house: House, stream_id: UUID, clip: Clip, sequence: int) -> None:
    """One segment in the store, as the shipper leaves it."""
    body = clip.segments[sequence % 4]
    await house.objects.put_bytes(source_segment_key(stream_id, sequence), body, SEGMENT)
    await house.pool.execute(
        "insert into segments (stream_id, sequence, duration_ms, size_bytes, discontinuity) "
        "values ($1, $2, 2000, $3, $4)",
        stream_id,
        sequence,
        len(body),
        sequence == 0,
    )


async def test_a_segment_that_is_missing_is_waited_for_and_then_passed(house: House, clip: Clip) -> None:
    stream_id = await house.started()
    planner = house.planner(while_live=True)
    for sequence in (0, 1, 2, 4, 5, 6):
        await shipped(house, stream_id, clip, sequence)
    await planner.plan_live()
    assert await chunk_ranges(house, stream_id) == [(0, 1)]
    await house.pool.execute("update segments set shipped_at = now() - interval '2 minutes'")
    await planner.plan_live()
    assert await chunk_ranges(house, stream_id) == [(0, 1), (2, 2), (4, 5)]
    # It comes after all: once the recording plays, the chunks are those of the whole, and what changed is made again.
    await shipped(house, stream_id, clip, 3)
    first = await house.jobs().lease(["chunk"])
    assert first is not None
    await house.ended(stream_id)
    await house.pool.execute("update recordings set settled_at = now(), segments_expected = 7")
    async with running(house.finaliser(), planner):
        await house.until_planned(stream_id)
    assert await chunk_ranges(house, stream_id) == [(0, 1), (2, 3), (4, 5), (6, 6)]
    states = [(chunk.state, chunk.discontinuity) for chunk in await house.chunks(stream_id)]
    assert states == [("leased", True), ("pending", False), ("pending", False), ("pending", False)]


async def test_progress_is_told_at_each_tenth_once(house: House, clip: Clip) -> None:
    stream_id = await house.started()
    for sequence in range(12):
        await shipped(house, stream_id, clip, sequence)
    await house.ended(stream_id)
    await house.pool.execute("update recordings set settled_at = now(), segments_expected = 12")
    async with running(house.finaliser(), house.planner(chunk_seconds=2.0)):
        await house.until_planned(stream_id)
    kind, jobs = house.chunk_kind(), house.jobs()
    seen = []
    while job := await jobs.lease(["chunk"]):
        async with house.outbox.transaction() as transaction:
            await kind.finish(transaction, job, {})
            await jobs.finish(transaction.connection, job, {})
        seen.append((await house.recording(stream_id)).progress_percent)
    assert seen == [8, 16, 25, 33, 41, 50, 58, 66, 75, 83, 91, 99]
    percents = [facts["percent"] for kind_, facts in await house.said() if kind_ == "recording.progressed"]
    assert percents == [10, 20, 30, 40, 50, 60, 70, 80, 90]
