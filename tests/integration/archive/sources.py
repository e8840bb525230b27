"""Sources of every kind that encoders send, in segments as a media server cuts them: small, and quick to make."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.integration.archive.clips import Clip, pictures_of

SECONDS = 8
SIZE = "480x270"
TONE = f"sine=frequency=440:sample_rate=48000:duration={SECONDS}"
KEY_FRAMES = "expr:gte(t,n_forced*2)"


def make_source(
    directory: Path,
    *,
    size: str = SIZE,
    rate: str = "30",
    filters: str = "null",
    encoder: str = "-bf 2",
    sound: str | None = "-ac 2",
) -> Clip:
    """8 s of H.264 with a key frame every 2 s, and AAC unless ``sound`` is None."""
    directory.mkdir(parents=True)
    argv = ["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi"]
    argv += ["-i", f"testsrc2=size={size}:rate={rate}:duration={SECONDS},{filters}"]
    if sound is not None:
        argv += ["-f", "lavfi", "-i", TONE, "-c:a", "aac", "-b:a", "64k", *sound.split()]
    argv += ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-threads", "1", *encoder.split()]
    argv += ["-fps_mode", "passthrough", "-enc_time_base", "1:90000"]
    argv += ["-g", "600", "-sc_threshold", "0", "-force_key_frames", KEY_FRAMES, "-forced-idr", "1"]
    argv += ["-f", "hls", "-hls_time", "2", "-hls_list_size", "0"]
    argv += ["-hls_segment_filename", str(directory / "%d.ts"), str(directory / "index.m3u8")]
    subprocess.run(argv, check=True, timeout=60)
    if filters != "null":
        # The muxer knows no duration of the last picture of a segment, and says too little.
        starts = [pictures_of(directory / f"{number}.ts").times[0] for number in range(SECONDS // 2)]
        ends = [*starts[1:], starts[0] + SECONDS * 90_000]
        durations = [(end - start) // 90 for start, end in zip(starts, ends, strict=True)]
        return Clip([(directory / f"{number}.ts").read_bytes() for number in range(SECONDS // 2)], durations)
    lines = (directory / "index.m3u8").read_text().splitlines()
    durations = [round(float(line[8:].rstrip(",")) * 1000) for line in lines if line.startswith("#EXTINF:")]
    return Clip([(directory / f"{number}.ts").read_bytes() for number in range(len(durations))], durations)
