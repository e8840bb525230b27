"""Finalising: what is published is all that the store has, said once, and what is missing is told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from uuid import UUID

from archive.ladder.ladder import SourceSegment
from archive.media.probe import MediaFacts
from archive.objects.keys import SEGMENT, source_segment_key
from archive.publishing.finalise import Finaliser
from archive.publishing.gaps import NOT_IN_STORE
from archive.publishing.source_probe import SourceProbe
from archive.store import QUERIES, Recordings, SettledRecording
from runtime.ids import uuid7
from tests.integration.archive.clips import Clip
from tests.integration.archive.house import House, durations_ms, running, until
from tests.integration.archive.media_server import MediaServerDisk


async def store_segment(house: House, stream_id: UUID, sequence: int, body: bytes) -> None:
    """A segment of 2 s as a shipper leaves it."""
    await house.objects.put_bytes(source_segment_key(stream_id, sequence), body, SEGMENT)
    await QUERIES.note_segment(
        house.pool,
        stream_id=stream_id,
        sequence=sequence,
        duration_ms=2_000,
        size_bytes=len(body),
        discontinuity=sequence == 0,
    )


async def lose_segment(house: House, stream_id: UUID, sequence: int, reason: str, duration_ms: int | None) -> None:
    await QUERIES.note_lost(house.pool, stream_id=stream_id, sequence=sequence, reason=reason, duration_ms=duration_ms)


async def stored(house: House, clip: Clip, sequences: Iterable[int]) -> UUID:
    """A stream that is over, and of which these segments are in the store."""
    stream_id = await house.started()
    for sequence in sequences:
        await store_segment(house, stream_id, sequence, clip.segments[sequence % len(clip.segments)])
    await house.ended(stream_id)
    return stream_id


async def settle(house: House, stream_id: UUID) -> None:
    await QUERIES.settle(house.pool, stream_id=stream_id)


async def test_a_recording_with_lost_segments_is_published_as_partial(house: House, small_clip: Clip) -> None:
    stream_id = await stored(house, small_clip, (0, 1, 4, 5))
    await lose_segment(house, stream_id, 2, "the file is gone", 2_000)
    await lose_segment(house, stream_id, 3, "the file is gone", None)
    await lose_segment(house, stream_id, 6, "it was never written", None)
    await settle(house, stream_id)
    async with running(house.finaliser()):
        done = await house.until_status(stream_id, "processing", "completed")
    assert done.partial
    assert done.missing == [
        {"first_sequence": 2, "last_sequence": 3, "at_seconds": 4.0, "seconds": None, "reason": "the file is gone"},
        {"first_sequence": 6, "last_sequence": 6, "at_seconds": 8.0, "seconds": None, "reason": "it was never written"},
    ]
    assert (done.duration_ms, done.size_bytes) == (8_000, 2 * sum(map(len, small_clip.segments)))
    ((kind, event),) = await house.said()
    assert (kind, event["partial"], event["missing_segments"], event["clip_of"]) == (
        "recording.published",
        True,
        3,
        None,
    )
    index = await house.text(f"{stream_id}/source/index.m3u8")
    assert durations_ms(index) == [2_000] * 4
    lines = index.splitlines()
    assert lines.count("#EXT-X-DISCONTINUITY") == 1
    assert lines[lines.index("#EXT-X-DISCONTINUITY") + 2] == "4.ts"


async def test_what_the_store_has_lost_for_good_is_left_out_and_told(house: House, small_clip: Clip) -> None:
    stream_id = await stored(house, small_clip, range(4))
    await settle(house, stream_id)
    await house.objects.delete(f"{stream_id}/source/1.ts")
    # Nobody has the file any more: the shipper looks, finds nothing, and settles again.
    MediaServerDisk(house.hls, stream_id).directory.mkdir()
    async with running(house.shipper(), house.finaliser()):
        done = await house.until_status(stream_id, "processing", "completed")
    assert done.missing == [
        {"first_sequence": 1, "last_sequence": 1, "at_seconds": 2.0, "seconds": 2.0, "reason": NOT_IN_STORE}
    ]
    assert [key.rpartition("/")[2] for key in await house.pieces(f"{stream_id}/source/index.m3u8")] == [
        "0.ts",
        "2.ts",
        "3.ts",
    ]
    # What a row says is in the store is in the store, also for those who come later.
    assert await house.recordings.shipped(stream_id) == {0, 2, 3}


async def test_after_the_last_attempt_the_rest_is_published(house: House, small_clip: Clip) -> None:
    stream_id = await stored(house, small_clip, range(4))
    await settle(house, stream_id)
    await house.objects.delete(f"{stream_id}/source/3.ts")
    await house.pool.execute("update recordings set finalise_attempts = 4")
    async with running(house.finaliser()):
        done = await house.until_status(stream_id, "processing", "completed")
    assert [(gap["first_sequence"], gap["seconds"]) for gap in done.missing] == [(3, 2.0)]
    await house.pieces(f"{stream_id}/source/index.m3u8")
    assert await house.recordings.shipped(stream_id) == {0, 1, 2}


async def test_only_a_recording_without_any_segment_fails(house: House, small_clip: Clip) -> None:
    stream_id = await stored(house, small_clip, range(2))
    await settle(house, stream_id)
    for sequence in range(2):
        await house.objects.delete(f"{stream_id}/source/{sequence}.ts")
    await house.pool.execute("update recordings set finalise_attempts = 4")
    async with running(house.finaliser()):
        failed = await house.until_status(stream_id, "failed")
    assert failed.failure == f"none of its segments is there: {NOT_IN_STORE}"
    assert [kind for kind, _ in await house.said()] == ["recording.failed"]


class UnheldClaims(Recordings):
    """Claims are over at once, so that several finalise the same recording at the same time."""

    async def claim_settled(self, *, claim_seconds: float) -> SettledRecording | None:
        return await super().claim_settled(claim_seconds=0.0)


async def test_finalisers_side_by_side_publish_each_recording_once(house: House, small_clip: Clip) -> None:
    streams = [await stored(house, small_clip, range(2)) for _ in range(8)]
    recordings = UnheldClaims(house.pool)
    finalisers = [
        Finaliser(recordings, house.outbox, house.objects, house.source_probe(), playback_path="/recordings")
        for _ in range(4)
    ]
    async with running(*finalisers):
        await asyncio.gather(*(settle(house, stream_id) for stream_id in streams))
        for stream_id in streams:
            await house.until_status(stream_id, "processing", "completed")
    published = [event["stream_id"] for kind, event in await house.said() if kind == "recording.published"]
    assert sorted(published) == sorted(map(str, streams))


class LookOnceMore(SourceProbe):
    """Between the look at the store and the publication a segment comes."""

    house: House
    body: bytes

    async def look(self, stream_id: UUID, segments: Sequence[SourceSegment]) -> MediaFacts:
        facts = await super().look(stream_id, segments)
        # Long enough that the listing is over.
        await asyncio.sleep(0.3)
        await store_segment(self.house, stream_id, 2, self.body)
        return facts


async def test_a_segment_that_comes_while_it_is_finalised_is_not_left_out(house: House, small_clip: Clip) -> None:
    stream_id = await stored(house, small_clip, range(2))
    await settle(house, stream_id)
    source = LookOnceMore(house.objects, house.runner, house.work)
    source.house, source.body = house, small_clip.segments[0]
    finaliser = Finaliser(house.recordings, house.outbox, house.objects, source, playback_path="/recordings")
    async with running(finaliser):
        done = await house.until_status(stream_id, "processing", "completed")
    assert done.duration_ms == 6_000


async def test_what_a_dead_machine_has_shipped_is_published_after_a_while(house: House, small_clip: Clip) -> None:
    running_still = await house.started()
    await store_segment(house, running_still, 0, small_clip.segments[0])
    stream_id = await stored(house, small_clip, range(2))
    finaliser = Finaliser(
        house.recordings,
        house.outbox,
        house.objects,
        house.source_probe(),
        playback_path="/recordings",
        abandoned_seconds=0.5,
    )
    async with running(finaliser):
        done = await house.until_status(stream_id, "processing", "completed")
    assert (done.duration_ms, done.partial) == (4_000, False)
    assert (await house.recording(running_still)).status == "pending"


class CountedLooks(SourceProbe):
    """Counts how often somebody had to look."""

    looks = 0

    async def look(self, stream_id: UUID, segments: Sequence[SourceSegment]) -> MediaFacts:
        self.looks += 1
        return await super().look(stream_id, segments)


async def test_what_was_seen_while_the_stream_ran_is_not_looked_at_again(house: House, small_clip: Clip) -> None:
    stream_id = await house.started()
    await store_segment(house, stream_id, 0, small_clip.segments[0])
    source = CountedLooks(house.objects, house.runner, house.work)
    finaliser = Finaliser(house.recordings, house.outbox, house.objects, source, playback_path="/recordings")
    async with running(finaliser):

        async def looked() -> bool:
            return source.looks == 1 and not any(house.work.iterdir())

        await until(looked)
        await house.ended(stream_id)
        await settle(house, stream_id)
        await house.until_status(stream_id, "processing", "completed")
    assert source.looks == 1
    assert "RESOLUTION=320x240" in await house.text(f"{stream_id}/master.m3u8")


async def test_a_stream_without_media_fails_and_nothing_waits_for_it(house: House) -> None:
    stream_id = uuid7()
    await house.started(stream_id)
    await house.ended(stream_id)
    async with running(house.shipper(), house.finaliser()):
        failed = await house.until_status(stream_id, "failed")
    assert failed.failure == "no media arrived"
