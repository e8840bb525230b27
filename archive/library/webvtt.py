"""Reads WebVTT strictly enough that players agree on it, and keeps the text of the cues as it is.

Checked is what a file has to be to mean the same everywhere (W3C WebVTT, sections 4.1 and 6.1): the signature, blocks
with blank lines between them, timings that are times and end after they begin. What is inside a cue is the players'.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from archive.errors import CaptionsRefused

CUES_MAX = 20_000
LINE_CHARACTERS_MAX = 4_000
ARROW = "-->"
TIMESTAMP_MAP = "X-TIMESTAMP-MAP"
PTS_PER_MS = 90
PTS_MODULUS = 1 << 33

_SIGNATURE = re.compile(r"WEBVTT(?:[ \t].*)?")
_TIME = r"(?:(\d{2,4}):)?([0-5]\d):([0-5]\d)\.(\d{3})"
_TIMING = re.compile(rf"{_TIME}[ \t]+-->[ \t]+{_TIME}(?:[ \t]+\S.*)?", re.ASCII)
_TIMING_OF_SUBRIP = re.compile(r"\d+:\d+:\d+,\d+[ \t]+-->", re.ASCII)
_BLOCK_WITHOUT_TIMING = re.compile(r"(?:NOTE(?:[ \t].*)?|STYLE[ \t]*|REGION[ \t]*)")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Captions:
    """A WebVTT file: the lines of its header after the signature, the rest as it is, and how many cues that has."""

    header: Sequence[str]
    body: Sequence[str]
    cues: int

    def text(self, start_ms: int) -> str:
        """The file for HLS: times count from where a TS stream begins whose first timestamp is ``start_ms``.

        RFC 8216 3.5: without X-TIMESTAMP-MAP, players take a cue's 0 for the stream's timestamp 0.
        """
        pts = start_ms * PTS_PER_MS % PTS_MODULUS
        mapped = f"{TIMESTAMP_MAP}=MPEGTS:{pts},LOCAL:00:00:00.000"
        return "\n".join(["WEBVTT", mapped, *self.header, "", *self.body]) + "\n"


def read_captions(content: bytes) -> Captions:
    """The file in ``content``. Raises CaptionsRefused with the line and what is wrong in it."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        broken = content[: error.start].count(b"\n") + 1
        raise CaptionsRefused(broken, "it is not UTF-8") from error
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    _check_characters(lines)
    if not _SIGNATURE.fullmatch(lines[0]):
        raise CaptionsRefused(1, "a WebVTT file begins with WEBVTT")
    blank = next((at for at, line in enumerate(lines) if not line), len(lines))
    header = lines[1:blank]
    for number, line in enumerate(header, start=2):
        if ARROW in line:
            raise CaptionsRefused(number, "a blank line must come between the header and the first cue")
    cues = 0
    for first, block in _blocks(lines, blank):
        cues += _check_block(first, block)
        if cues > CUES_MAX:
            raise CaptionsRefused(first, f"it has more than {CUES_MAX} cues")
    if not cues:
        raise CaptionsRefused(len(lines), "it has no cue")
    return Captions([line for line in header if not line.startswith(TIMESTAMP_MAP)], _trimmed(lines[blank:]), cues)


def _check_characters(lines: Sequence[str]) -> None:
    for number, line in enumerate(lines, start=1):
        if _CONTROL.search(line):
            raise CaptionsRefused(number, "it has a control character")
        if len(line) > LINE_CHARACTERS_MAX:
            raise CaptionsRefused(number, f"the line has more than {LINE_CHARACTERS_MAX} characters")


def _blocks(lines: Sequence[str], start: int) -> Iterator[tuple[int, list[str]]]:
    """What stands between blank lines, each with the number of its first line."""
    block: list[str] = []
    for number, line in enumerate(lines[start:], start=start + 1):
        if line:
            block.append(line)
        elif block:
            yield number - len(block), block
            block = []
    if block:
        yield len(lines) - len(block) + 1, block


def _check_block(first: int, block: Sequence[str]) -> int:
    """How many cues a block is: one or none. Raises CaptionsRefused."""
    at = next((at for at, line in enumerate(block) if ARROW in line), None)
    if at is None:
        if _BLOCK_WITHOUT_TIMING.fullmatch(block[0]):
            return 0
        raise CaptionsRefused(first, "it is neither a cue (a line with -->) nor a NOTE, STYLE or REGION")
    if at > 1:
        raise CaptionsRefused(first + at, "a cue's timing is its first line, or the second after its name")
    _check_timing(first + at, block[at])
    again = next((number for number, line in enumerate(block[at + 1 :], start=first + at + 1) if ARROW in line), None)
    if again is not None:
        raise CaptionsRefused(again, "a blank line must come between two cues")
    return 1


def _check_timing(number: int, line: str) -> None:
    found = _TIMING.fullmatch(line.strip(" \t"))
    if found is None:
        comma = _TIMING_OF_SUBRIP.match(line)
        hint = (
            ": a point, not a comma, comes before milliseconds" if comma else ", such as 00:00:01.000 --> 00:00:04.000"
        )
        raise CaptionsRefused(number, f"it is not a timing{hint}")
    parts = found.groups()
    if _milliseconds(parts[4:]) <= _milliseconds(parts[:4]):
        raise CaptionsRefused(number, "the cue ends before, or when, it begins")


def _milliseconds(parts: Sequence[str | None]) -> int:
    hours, minutes, seconds, thousandths = (int(part or 0) for part in parts)
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + thousandths


def _trimmed(lines: Sequence[str]) -> list[str]:
    """``lines`` without the blank ones at both ends."""
    return "\n".join(lines).strip("\n").split("\n")
