"""Makes an emote's image of what was uploaded: decoded, held to limits, and encoded anew.

What a file is, its decoding says, never its name or the type that came with it; what is stored is what this process
has encoded itself, so nothing hides in it, and nothing of it (places, devices, comments) is told to others. The size
that the head of a file claims is looked at before it is decoded: a kilobyte can claim gigapixels. ADR 0088.
"""

import struct
import warnings
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

from PIL import Image

UPLOAD_BYTES_MAX: Final = 262_144
STORED_BYTES_MAX: Final = 524_288
SIDE_PX_MIN: Final = 16
SIDE_PX_MAX: Final = 128
SIDES_RATIO_MAX: Final = 3
FRAMES_MAX: Final = 100
FRAME_MS_MIN: Final = 20
FRAME_MS_USUAL: Final = 100
FRAME_MS_MAX: Final = 10_000

TYPES: Final = {"PNG": "image/png", "GIF": "image/gif", "WEBP": "image/webp"}

# Pillow refuses more than twice of it before it makes room for the pixels, also in frames larger than the first.
Image.MAX_IMAGE_PIXELS = SIDE_PX_MAX * SIDE_PX_MAX


class ImageRefused(Exception):
    """It cannot be an emote; the text says why, with the limit, and is shown to users."""


@dataclass(frozen=True, slots=True)
class EmoteImage:
    """An image as it is stored and served."""

    body: bytes
    content_type: str
    width_px: int
    height_px: int
    animated: bool


def read_image(body: bytes) -> EmoteImage:
    """The image of an upload; raises ImageRefused. Blocks for as long as encoding takes."""
    if len(body) > UPLOAD_BYTES_MAX:
        raise ImageRefused(f"an emote's file has {UPLOAD_BYTES_MAX} bytes at most")
    kind = _kind(body)
    _check_size(_claimed_size(kind, body))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a broken file; it is refused if it cannot be decoded
            frames, durations_ms = _decode(kind, body)
    except ImageRefused:
        raise
    # What decoders raise for broken files is not drawn anywhere: these are what Pillow's readers of our types have.
    except (OSError, ValueError, SyntaxError, EOFError, KeyError, IndexError, TypeError, struct.error) as error:
        raise ImageRefused("the file is damaged: it cannot be decoded") from error
    except Image.DecompressionBombError as error:
        raise ImageRefused(_sides()) from error
    encoded = _encode(kind, frames, durations_ms)
    if len(encoded) > STORED_BYTES_MAX:
        raise ImageRefused(f"decoded and encoded anew it has more than {STORED_BYTES_MAX} bytes: use fewer frames")
    width_px, height_px = frames[0].size
    return EmoteImage(encoded, TYPES[kind], width_px, height_px, animated=len(frames) > 1)


def _kind(body: bytes) -> str:
    if body.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if body.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if body[:4] == b"RIFF" and body[8:12] == b"WEBP":
        return "WEBP"
    raise ImageRefused("an emote is a PNG, GIF or WebP image")


def _claimed_size(kind: str, body: bytes) -> tuple[int, int]:
    """Width and height as the head of the file has them."""
    try:
        if kind == "PNG":  # the IHDR chunk is the first (PNG, section 5.6)
            width, height = struct.unpack_from(">II", body, 16)
            return width, height
        if kind == "GIF":  # the logical screen descriptor (GIF89a, section 18)
            width, height = struct.unpack_from("<HH", body, 6)
            return width, height
        return _claimed_webp_size(body)
    except (struct.error, IndexError) as error:
        raise ImageRefused("the file is damaged: it ends in its head") from error


def _claimed_webp_size(body: bytes) -> tuple[int, int]:
    """As of RFC 9649, sections 2.5 to 2.7."""
    chunk = body[12:16]
    if chunk == b"VP8X":
        return 1 + int.from_bytes(body[24:27], "little"), 1 + int.from_bytes(body[27:30], "little")
    if chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", body, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if chunk == b"VP8 ":
        width, height = struct.unpack_from("<HH", body, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise ImageRefused("the file is damaged: it does not begin as WebP images do")


def _check_size(size: tuple[int, int]) -> None:
    shorter, longer = sorted(size)
    if shorter < SIDE_PX_MIN or longer > SIDE_PX_MAX or longer > shorter * SIDES_RATIO_MAX:
        raise ImageRefused(_sides())


def _sides() -> str:
    return f"an emote's sides have {SIDE_PX_MIN} to {SIDE_PX_MAX} pixels, one at most {SIDES_RATIO_MAX} times the other"


def _decode(kind: str, body: bytes) -> tuple[list[Image.Image], list[int]]:
    frames, durations_ms = [], []
    with Image.open(BytesIO(body), formats=(kind,)) as image:
        count = getattr(image, "n_frames", 1)
        if count > FRAMES_MAX:
            raise ImageRefused(f"an emote has {FRAMES_MAX} frames at most")
        for number in range(count):
            image.seek(number)
            image.load()  # WebP knows how long a frame is shown once it is decoded
            _check_size(image.size)
            frames.append(image.convert("RGBA"))
            shown_ms = int(image.info.get("duration") or FRAME_MS_USUAL)
            durations_ms.append(min(max(shown_ms, FRAME_MS_MIN), FRAME_MS_MAX))
    if any(frame.size != frames[0].size for frame in frames):
        raise ImageRefused("all frames of an emote have one size")
    return frames, durations_ms


def _encode(kind: str, frames: list[Image.Image], durations_ms: list[int]) -> bytes:
    first, *rest = [_bare(frame) for frame in frames]
    file = BytesIO()
    how: dict[str, Any] = {"lossless": True, "method": 4} if kind == "WEBP" else {"optimize": True}
    if rest:
        how |= {"save_all": True, "append_images": rest, "duration": durations_ms, "loop": 0}
        if kind == "GIF":
            how["disposal"] = 2
    first.save(file, kind, **how)
    return file.getvalue()


def _bare(frame: Image.Image) -> Image.Image:
    """The same pixels and nothing else."""
    bare = Image.new("RGBA", frame.size)
    bare.paste(frame)
    return bare
