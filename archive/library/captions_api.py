"""Captions of recordings: uploaded by their owners as WebVTT, seen by whoever sees the recording."""

from __future__ import annotations

import re
from typing import Annotated

from aiohttp import web
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from archive.errors import CaptionsRefused
from archive.library.api import ArchivePath
from archive.library.captions import CAPTIONS, CaptionStore
from archive.library.owners_api import one_visible_line
from archive.library.views import CaptionsView, captions_view
from archive.library.visibility import OWNERS_ALONE, owned_by, seen_by
from archive.library.webvtt import read_captions
from archive.problems import CaptionsNotFound, RecordingDoesNotPlay, RecordingNotFound, TooManyCaptions
from archive.store import Recordings
from runtime.endpoints import endpoint
from runtime.problems import PayloadTooLarge, UnsupportedMediaType, ValidationFailed
from runtime.tokens import Caller

CAPTIONS_BYTES_MAX = 1 << 20
LABEL_CHARACTERS_MAX = 60
LANGUAGE_CHARACTERS_MAX = 35
CONTENT_TYPE = "text/vtt"

# RFC 5646 2.1 without what captions have no use for: extensions, private use, grandfathered tags.
_LANGUAGE = re.compile(
    r"(?P<language>[A-Za-z]{2,3})(?P<extended>(?:-[A-Za-z]{3}){0,3})(?:-(?P<script>[A-Za-z]{4}))?"
    r"(?:-(?P<region>[A-Za-z]{2}|[0-9]{3}))?(?P<variants>(?:-(?:[A-Za-z0-9]{5,8}|[0-9][A-Za-z0-9]{3}))*)",
    re.ASCII,
)


def language_tag(text: str) -> str:
    """``text`` in the case that RFC 5646 2.1.1 recommends. Raises ValueError when it is no tag."""
    found = _LANGUAGE.fullmatch(text)
    if found is None:
        raise ValueError("must be a BCP 47 language tag, such as en, pt-BR or zh-Hant")
    parts = [found["language"].lower() + found["extended"].lower()]
    if found["script"]:
        parts.append(found["script"].title())
    if found["region"]:
        parts.append(found["region"].upper())
    return "-".join(parts) + found["variants"].lower()


class CaptionsPath(ArchivePath):
    """Which captions."""

    language: Annotated[str, StringConstraints(max_length=LANGUAGE_CHARACTERS_MAX), AfterValidator(language_tag)] = (
        Field(description="A BCP 47 tag, such as `en` or `pt-BR`.")
    )


class CaptionsQuery(BaseModel):
    """What they are called."""

    model_config = ConfigDict(frozen=True)

    label: (
        Annotated[
            str,
            StringConstraints(strip_whitespace=True, min_length=1, max_length=LABEL_CHARACTERS_MAX),
            AfterValidator(one_visible_line),
        ]
        | None
    ) = Field(default=None, description="What a player's menu calls them; the language's tag if it is left out.")


class CaptionsList(BaseModel):
    """The captions of one recording."""

    model_config = ConfigDict(frozen=True)

    items: list[CaptionsView]


class CaptionsApi:
    """Captions of recordings."""

    tag = "archives"

    def __init__(self, recordings: Recordings, captions: CaptionStore, *, playback_path: str) -> None:
        self._recordings = recordings
        self._captions = captions
        self._playback_path = playback_path

    @endpoint("GET", "/api/archives/{stream_id}/captions", problems=(RecordingNotFound,))
    async def list_captions(self, caller: Caller | None, path: ArchivePath) -> CaptionsList:
        """List a recording's captions."""
        recording = await seen_by(self._recordings, path.stream_id, caller)
        found = [captions_view(file, self._folder(path)) for file in recording.files if file.role == CAPTIONS]
        return CaptionsList(items=sorted(found, key=lambda view: view.language))

    @endpoint(
        "PUT",
        "/api/archives/{stream_id}/captions/{language}",
        problems=(*OWNERS_ALONE, RecordingDoesNotPlay, TooManyCaptions, PayloadTooLarge, UnsupportedMediaType),
    )
    async def put_captions(
        self, caller: Caller, path: CaptionsPath, query: CaptionsQuery, request: web.Request
    ) -> CaptionsView:
        """Give a recording of one's own captions in a language, in place of those that it has.

        The body is a WebVTT file (`text/vtt`, UTF-8, 1 MiB at most). Its times count from the recording's beginning.
        """
        recording = await owned_by(self._recordings, path.stream_id, caller)
        content = await _body(request)
        try:
            captions = read_captions(content)
        except CaptionsRefused as refused:
            message = f"line {refused.line}: {refused.reason}"
            raise ValidationFailed(
                message, errors=[{"field": "body", "message": message}], line=refused.line
            ) from refused
        file = await self._captions.put(recording, path.language, query.label or path.language, captions)
        return captions_view(file, self._folder(path))

    @endpoint(
        "DELETE",
        "/api/archives/{stream_id}/captions/{language}",
        problems=(*OWNERS_ALONE, CaptionsNotFound),
    )
    async def delete_captions(self, caller: Caller, path: CaptionsPath) -> None:
        """Remove captions of a recording of one's own."""
        await owned_by(self._recordings, path.stream_id, caller)
        if not await self._captions.remove(path.stream_id, path.language):
            raise CaptionsNotFound(f"it has no captions in {path.language}")

    def _folder(self, path: ArchivePath) -> str:
        return f"{self._playback_path}/{path.stream_id}"


async def _body(request: web.Request) -> bytes:
    """The body, read up to its limit. Raises UnsupportedMediaType, PayloadTooLarge."""
    if request.content_type != CONTENT_TYPE:
        got = request.headers.get("Content-Type", "no content type")
        raise UnsupportedMediaType(f"the body must be {CONTENT_TYPE}, not {got[:100]}")
    content = b""
    async for piece in request.content.iter_chunked(1 << 16):
        content += piece
        if len(content) > CAPTIONS_BYTES_MAX:
            raise PayloadTooLarge(f"captions have {CAPTIONS_BYTES_MAX} bytes at most")
    return content
