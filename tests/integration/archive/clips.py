"""Small clips, made by ffmpeg when a test asks, in segments as a media server cuts them; and a look at the result."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Clip:
    """A clip in MPEG-TS segments: their bytes, and their durations in ms."""

    segments: list[bytes]
    durations_ms: list[int]


def make_clip(
    directory: Path,
    *,
    seconds: float = 8,
    size: str = "1280x720",
    rate: int = 30,
    sound: bool = True,
    start: float = 0,
    picture: str = "testsrc2",
    pixel_aspect: str = "1",
    b_frames: int = 0,
) -> Clip:
    """H.264 with a key frame every 2 s, and AAC; each segment begins with a key frame.

    ``picture`` is a source of ffmpeg's; ``pixel_aspect`` a pixel's width over its height.
    """
    directory.mkdir(parents=True)
    argv = ["ffmpeg", "-nostdin", "-v", "error"]
    argv += [
        "-f",
        "lavfi",
        "-i",
        f"{picture}{':' if '=' in picture else '='}size={size}:rate={rate}:duration={seconds}",
    ]
    if sound:
        argv += ["-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds}", "-c:a", "aac", "-b:a", "96k"]
    argv += ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-threads", "1"]
    argv += ["-g", str(2 * rate), "-keyint_min", str(2 * rate), "-sc_threshold", "0"]
    argv += ["-bf", str(b_frames), "-vf", f"setsar={pixel_aspect}"]
    argv += ["-output_ts_offset", str(start), "-f", "hls", "-hls_time", "2", "-hls_list_size", "0"]
    argv += ["-hls_segment_filename", str(directory / "%d.ts"), str(directory / "index.m3u8")]
    subprocess.run(argv, check=True, timeout=60)
    lines = (directory / "index.m3u8").read_text().splitlines()
    durations = [round(float(line[8:].rstrip(",")) * 1000) for line in lines if line.startswith("#EXTINF:")]
    return Clip([(directory / f"{number}.ts").read_bytes() for number in range(len(durations))], durations)


def make_sound(directory: Path, *, seconds: float = 2) -> bytes:
    """One segment with sound and a picture that is declared but not there, as nginx-rtmp makes before a key frame."""
    directory.mkdir(parents=True)
    both, sound = directory / "both.ts", directory / "sound.ts"
    argv = ["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds}"]
    argv += ["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=15:duration=0.1", "-map", "1:v", "-map", "0:a"]
    argv += ["-c:v", "libx264", "-c:a", "aac", "-f", "mpegts", str(both)]
    subprocess.run(argv, check=True, timeout=60)
    # ffmpeg gives the first stream the packet id 0x100: all of its packets go, the tables stay.
    packets = [both.read_bytes()[at : at + 188] for at in range(0, both.stat().st_size, 188)]
    kept = [packet for packet in packets if int.from_bytes(packet[1:3], "big") & 0x1FFF != 0x100]
    sound.write_bytes(b"".join(kept))
    return sound.read_bytes()


@dataclass(frozen=True)
class Pictures:
    """The pictures of an MPEG-TS file as a decoder sees them. Times are in ticks of 1/90,000 s."""

    times: list[int]
    key_times: list[int]
    width_px: int
    height_px: int


def pictures_of(path: Path) -> Pictures:
    """Decode the file and note every picture."""
    argv = ["ffprobe", "-v", "error", "-f", "mpegts", "-select_streams", "v:0", "-of", "json"]
    argv += ["-show_entries", "frame=pts,key_frame,width,height", str(path)]
    told = json.loads(subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout)
    frames = told["frames"]
    return Pictures(
        times=[int(frame["pts"]) for frame in frames],
        key_times=[int(frame["pts"]) for frame in frames if frame["key_frame"]],
        width_px=int(frames[0]["width"]),
        height_px=int(frames[0]["height"]),
    )


def sound_of(path: Path) -> list[tuple[int, str]]:
    """Every packet of sound in the file: its time in ticks of 1/90,000 s and the hash of its bytes."""
    argv = ["ffprobe", "-v", "error", "-f", "mpegts", "-select_streams", "a:0", "-of", "json", "-show_data_hash", "md5"]
    argv += ["-show_entries", "packet=pts,data_hash", str(path)]
    told = json.loads(subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout)
    return [(int(packet["pts"]), packet["data_hash"]) for packet in told["packets"]]


def make_flv(path: Path, *, seconds: float, size: str = "1280x720", rate: int = 30) -> Path:
    """A clip as a streamer's encoder would send it: H.264 with B-frames and a key frame every 2 s, AAC."""
    argv = ["ffmpeg", "-nostdin", "-v", "error"]
    argv += ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate={rate}:duration={seconds}"]
    argv += ["-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds}"]
    argv += ["-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-pix_fmt", "yuv420p", "-threads", "1"]
    argv += ["-g", str(2 * rate), "-keyint_min", str(2 * rate), "-sc_threshold", "0", "-b:v", "1500k"]
    argv += ["-c:a", "aac", "-b:a", "96k", "-ar", "48000", "-f", "flv", str(path)]
    subprocess.run(argv, check=True, timeout=60)
    return path
