"""Media that means harm: files that claim to be segments and are something else, and segments that cost memory."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

TS_PACKET_BYTES = 188
MACROBLOCK_PX = 16
# FFmpeg itself refuses 16384x16384; this is the largest square that it takes: 338 MB a picture.
GIANT_PX = 15_360
BEYOND_PX = 16_384


@dataclass(frozen=True)
class Outside:
    """What a hostile file reaches for: a video beside it on the disk, and a server on this machine."""

    video: Path
    port: int


def hostile_files(outside: Outside, good: bytes, directory: Path) -> dict[str, bytes]:
    """The six, by name; ``good`` is a segment that one of them cuts short. ``directory`` is for the making."""
    url = f"http://127.0.0.1:{outside.port}/segment.ts"
    files = {
        "playlist": _playlist(str(outside.video), url),
        "concat script": f"ffconcat version 1.0\nfile '{outside.video}'\nfile '{url}'\n".encode(),
        "data URI": _playlist("data:video/mp2t;base64,R0AAEAAAsA0AAcEAAAAB8AAqsQSy"),
        # It names itself, and never ends.
        "endless playlist": b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:0\n"
        + b"#EXTINF:2,\n0.ts\n" * 500,
        # The tables, and the beginning of the first picture.
        "truncated": good[: 4 * TS_PACKET_BYTES + 100],
        "giant": giant_segment(directory, GIANT_PX),
        "beyond giant": giant_segment(directory, BEYOND_PX),
    }
    return {name: body.ljust(TS_PACKET_BYTES, b"\n") if b"EXT" in body else body for name, body in files.items()}


def _playlist(*addresses: str) -> bytes:
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:2"]
    for address in addresses:
        lines += ["#EXTINF:2.000,", address]
    return "\n".join([*lines, "#EXT-X-ENDLIST", ""]).encode()


def giant_segment(directory: Path, side_px: int) -> bytes:
    """A real MPEG-TS of 2 s whose pictures are small and whose parameters say ``side_px`` by ``side_px``."""
    options = "-c:v libx264 -profile:v baseline -x264-params keyint=60:scenecut=0:ref=1 -f h264 pipe:1"
    made = _ffmpeg(f"-f lavfi -i testsrc2=size=64x64:rate=30:duration=2 {options}")
    units = re.split(b"\x00\x00\x00\x01|\x00\x00\x01", made)[1:]
    told = [_sequence_parameters(side_px) if unit[0] & 31 == 7 else unit for unit in units]
    raw = directory / f"{side_px}.h264"
    raw.write_bytes(b"".join(b"\x00\x00\x00\x01" + unit for unit in told))
    return _ffmpeg(f"-f h264 -framerate 30 -i {raw} -c copy -f mpegts pipe:1")


def _ffmpeg(arguments: str) -> bytes:
    argv = ["ffmpeg", "-nostdin", "-v", "quiet", *arguments.split()]
    return subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout


def _sequence_parameters(side_px: int) -> bytes:
    """A sequence parameter set (ITU-T H.264 7.3.2.1.1) of Constrained Baseline at level 5.2."""
    blocks = side_px // MACROBLOCK_PX - 1
    # id, frame number, order of pictures, references; no gaps; width, height; frames only, direct 8x8, whole, plain.
    bits = "".join(
        [f"{66:08b}{0xC0:08b}{52:08b}", *map(_golomb, (0, 0, 2, 1)), "0", *map(_golomb, (blocks, blocks)), "1100", "1"]
    )
    bits += "0" * (-len(bits) % 8)
    raw = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))
    # 7.4.1.1: no start code may come about by chance.
    return b"\x67" + re.sub(b"\x00\x00(?=[\x00-\x03])", b"\x00\x00\x03", raw)


def _golomb(number: int) -> str:
    """Exp-Golomb (9.1)."""
    bits = f"{number + 1:b}"
    return "0" * (len(bits) - 1) + bits
