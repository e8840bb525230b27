"""What SRS and MediaMTX post when they have closed a segment, read into one command; pure.

SRS posts JSON (`on_hls`); MediaMTX runs a command, ours posts its variables as a query. Both are believed nothing: what
is not exactly a segment is refused here, and where its file lies is looked at by whoever opens it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from archive.problems import MalformedSegmentHook

PATH_CHARACTERS_MAX = 4_096
SECONDS_MAX = 600.0

_Path = Annotated[str, Field(min_length=1, max_length=PATH_CHARACTERS_MAX, pattern=r"^[^\x00]+$")]
_Seconds = Annotated[float, Field(gt=0, le=SECONDS_MAX, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class HookedSegment:
    """A closed segment: whose it is (a stream's id, or a channel's), where it should lie, how long it plays."""

    name: UUID
    path: PurePosixPath
    duration_ms: int


class _SrsAction(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    action: str = Field(max_length=64)


class _SrsHls(_SrsAction):
    action: Literal["on_hls"]
    stream: str = Field(max_length=256)
    cwd: _Path
    file: _Path
    duration: _Seconds


class _MediaMtx(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    path: str = Field(max_length=1_024)
    file: _Path
    duration: _Seconds


def parse_srs(body: bytes) -> HookedSegment | None:
    """The segment that SRS tells of; None for what tells of none. Raises MalformedSegmentHook."""
    try:
        if _SrsAction.model_validate_json(body).action != "on_hls":
            return None
        hook = _SrsHls.model_validate_json(body)
    except ValidationError as error:
        raise MalformedSegmentHook(_reason(error)) from error
    # `file` is relative to `cwd`, unless SRS was given an absolute path.
    return _segment(hook.stream, PurePosixPath(hook.cwd) / hook.file, hook.duration)


def parse_mediamtx(query: Iterable[tuple[str, str]]) -> HookedSegment | None:
    """The segment that our command of MediaMTX tells of; None for what tells of none. Raises MalformedSegmentHook."""
    fields: dict[str, str] = {}
    for name, value in query:
        # A path's own text may hold an ampersand: a second field of a name is never ours.
        if name in fields:
            raise MalformedSegmentHook(f"the field {name[:64]} stands twice")
        fields[name] = value
    if fields.get("event") != "segment":
        return None
    try:
        hook = _MediaMtx.model_validate(fields)
    except ValidationError as error:
        raise MalformedSegmentHook(_reason(error)) from error
    return _segment(hook.path.rpartition("/")[2], PurePosixPath(hook.file), hook.duration)


def _segment(name: str, path: PurePosixPath, duration_seconds: float) -> HookedSegment:
    try:
        stream_or_channel = UUID(name)
    except ValueError as error:
        raise MalformedSegmentHook("the media is not named like a stream or a channel") from error
    if not path.is_absolute() or path.suffix != ".ts":
        raise MalformedSegmentHook("the file is not the absolute path of a .ts file")
    return HookedSegment(stream_or_channel, path, max(1, round(duration_seconds * 1000)))


def _reason(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the body'}: {first['msg']}"
