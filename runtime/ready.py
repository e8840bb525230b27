"""Answers that are encoded once and sent often: bytes, their gzip form, and the tag by which caches ask again."""

import gzip
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2s
from typing import Final, Generic, TypeVar

from aiohttp import web
from multidict import CIMultiDict
from pydantic import BaseModel

M = TypeVar("M", bound=BaseModel)

GZIP_BYTES_MIN: Final = 1_000
"""Less is sent as it is."""
_GZIP_LEVEL: Final = 5


@dataclass(frozen=True)
class Ready(Generic[M]):
    """An encoded answer of the model that stands in the brackets. `headers` go with it, over those of the endpoint."""

    body: bytes
    etag: str
    """Weak, for the same tag goes with the bytes and with their gzip form, also where the edge makes that."""
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, answer: M, headers: Mapping[str, str] | None = None) -> "Ready[M]":
        """Encode an answer."""
        body = answer.model_dump_json().encode()
        return cls(body, f'W/"{blake2s(body, digest_size=12).hexdigest()}"', headers or {})

    @cached_property
    def zipped(self) -> bytes | None:
        """The gzip form, made when somebody first wants it; None if that would not be smaller."""
        if len(self.body) < GZIP_BYTES_MIN:
            return None
        return gzip.compress(self.body, _GZIP_LEVEL, mtime=0)

    @cached_property
    def _fields(self) -> "CIMultiDict[str]":
        return CIMultiDict({"Content-Type": "application/json", "ETag": self.etag, **self.headers})

    def answer(
        self, request: web.Request, status: int, headers: Mapping[str, str], *, by_caller: bool = False
    ) -> web.Response:
        """What this request is sent: 304 if it has these bytes already, else the bytes in a form that it reads.

        `by_caller`: others may get other bytes, as caches are told.
        """
        asked = request.headers
        fields = CIMultiDict(headers)
        fields.update(self._fields)
        fields["Vary"] = "Accept-Encoding, Authorization" if by_caller else "Accept-Encoding"
        known = asked.get("If-None-Match")
        if known is not None and _matches(known, self.etag):
            del fields["Content-Type"]
            return web.Response(status=304, headers=fields)
        body = self.body
        accepted = asked.get("Accept-Encoding")
        if accepted is not None and _accepts_gzip(accepted):
            zipped = self.zipped
            if zipped is not None:
                body = zipped
                fields["Content-Encoding"] = "gzip"
        return web.Response(status=status, body=body, headers=fields)


def _matches(known: str, etag: str) -> bool:
    """Whether If-None-Match names this tag; tags are compared weakly (RFC 9110 §13.1.2)."""
    if known.strip() == "*":
        return True
    opaque = etag.removeprefix("W/")
    return any(one.strip().removeprefix("W/") == opaque for one in known.split(","))


def _accepts_gzip(accepted: str) -> bool:
    """Whether Accept-Encoding takes gzip and not with a weight of zero (RFC 9110 §12.5.3)."""
    for one in accepted.split(","):
        coding, _, weight = one.partition(";")
        if coding.strip().lower() == "gzip":
            return weight.replace(" ", "").lower() not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
