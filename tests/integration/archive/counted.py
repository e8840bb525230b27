"""Clips whose pictures carry their number, so that a test can tell which picture it sees; and their reading."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from archive.ladder.ladder import SourceSegment
from archive.objects.keys import SEGMENT, source_segment_key
from archive.store import QUERIES
from tests.integration.archive.clips import Clip, pictures_of, sound_of
from tests.integration.archive.house import House

RATE = 30
FRAME_TICKS = 90_000 // RATE
BITS = 16
BLOCK_PX = 16
WIDTH_PX, HEIGHT_PX = BITS * BLOCK_PX, 64


def make_counted(
    directory: Path, *, seconds: float, first: int = 0, start: float = 0, sound: bool = True, encoder: str = "-bf 2"
) -> Clip:
    """H.264 with B-frames, a key frame every 2 s, and AAC. A picture shows its number, from ``first``, in black and
    white blocks, the lowest bit on the left.
    """
    directory.mkdir(parents=True)
    blocks = f"geq=lum='235*bitand(1,floor((N+{first})/pow(2,floor(X/{BLOCK_PX}))))':cb=128:cr=128"
    argv = ["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i"]
    argv += [f"color=black:size={WIDTH_PX}x{HEIGHT_PX}:rate={RATE}:duration={seconds},{blocks}"]
    if sound:
        # A tone that rises: no two packets are alike.
        argv += ["-f", "lavfi", "-i", f"aevalsrc=sin(2*PI*t*(200+50*t)):s=48000:d={seconds}"]
        argv += ["-c:a", "aac", "-b:a", "96k"]
    argv += ["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-threads", "1", *encoder.split()]
    argv += ["-g", str(2 * RATE), "-keyint_min", str(2 * RATE), "-sc_threshold", "0"]
    argv += ["-output_ts_offset", str(start), "-f", "hls", "-hls_time", "2", "-hls_list_size", "0"]
    argv += ["-hls_segment_filename", str(directory / "%d.ts"), str(directory / "index.m3u8")]
    subprocess.run(argv, check=True, timeout=60)
    lines = (directory / "index.m3u8").read_text().splitlines()
    durations = [round(float(line[8:].rstrip(",")) * 1000) for line in lines if line.startswith("#EXTINF:")]
    return Clip([(directory / f"{number}.ts").read_bytes() for number in range(len(durations))], durations)


async def recorded(house: House, *clips: Clip, missing: tuple[int, ...] = ()) -> UUID:
    """A recording that plays, of clips between which the publisher came back; some segments may be missing."""
    stream_id = await house.started()
    await house.ended(stream_id)
    number, duration_ms = 0, 0
    for clip in clips:
        for at, (body, segment_ms) in enumerate(zip(clip.segments, clip.durations_ms, strict=True)):
            if number not in missing:
                await house.objects.put_bytes(source_segment_key(stream_id, number), body, SEGMENT)
                await note(house, stream_id, SourceSegment(number, segment_ms, len(body), at == 0))
                duration_ms += segment_ms
            number += 1
    await house.pool.execute(
        "update recordings set status = 'completed', settled_at = now(), published_at = now(), completed_at = now(), "
        "segments_expected = $2, duration_ms = $3 where stream_id = $1",
        stream_id,
        number - len(missing),
        duration_ms,
    )
    return stream_id


async def note(house: House, stream_id: UUID, segment: SourceSegment) -> None:
    """Write one segment's row."""
    await QUERIES.note_segment(
        house.pool,
        stream_id=stream_id,
        sequence=segment.sequence,
        duration_ms=segment.duration_ms,
        size_bytes=segment.size_bytes,
        discontinuity=segment.discontinuity,
    )


@dataclass(frozen=True)
class Seen:
    """What a file shows: (time in ticks, the number on the picture), and the packets of sound (time, hash)."""

    pictures: list[tuple[int, int]]
    sound: list[tuple[int, str]]

    @property
    def numbers(self) -> list[int]:
        return [number for _, number in self.pictures]


def seen_in(path: Path) -> Seen:
    """Decode the file and read every picture."""
    argv = ["ffmpeg", "-nostdin", "-v", "error", "-f", "mpegts", "-i", str(path), "-map", "0:v:0"]
    argv += ["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray", "-"]
    raw = subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout
    size = WIDTH_PX * HEIGHT_PX
    middle = (HEIGHT_PX // 2) * WIDTH_PX + BLOCK_PX // 2
    numbers = [
        sum(1 << bit for bit in range(BITS) if raw[at + middle + bit * BLOCK_PX] > 127)
        for at in range(0, len(raw), size)
    ]
    times = pictures_of(path).times
    assert len(times) == len(numbers)
    return Seen(list(zip(times, numbers, strict=True)), sound_of(path))
