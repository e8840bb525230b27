"""What a person must see who has just written: a position in Postgres' log, as an opaque token that travels with them.

The answer to a write carries the token (a header, and a cookie so that browsers need not know of it); a request that
shows one is read where that position has been reached. A token that is none of ours, or of another database, means the
primary: the most that a forger gets is what everybody gets without replicas.
"""

import base64
import binascii
import re
import struct
from collections.abc import Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass
from hashlib import blake2s
from typing import Final

HEADER: Final = "X-Read-After"
COOKIE: Final = "livestream_read_after"
COOKIE_SECONDS: Final = 15
"""A replica that is used is a second or so behind; after this, all of them have what was written."""
UNKNOWN: Final = "primary"
"""The token of who wrote when the position could not be asked for."""

_FORM: Final = struct.Struct(">4sQ")
_CHARACTERS: Final = 16
_IN_COOKIES: Final = re.compile(rf"(?:^|;\s*){COOKIE}=([^;]*)")


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the log of one database cluster. `lsn` counts bytes from its beginning."""

    system: bytes
    """Four bytes that tell clusters apart (see `system_of`)."""
    lsn: int


def system_of(identifier: int) -> bytes:
    """What stands in tokens for a cluster's identifier, which is nobody's business."""
    return blake2s(str(identifier).encode(), digest_size=4).digest()


def encode_position(position: Position) -> str:
    """The token: 16 characters that may stand in a header and in a cookie."""
    return base64.urlsafe_b64encode(_FORM.pack(position.system, position.lsn)).decode()


def decode_position(token: str) -> Position | None:
    """The position of a token; None for what is no token of ours."""
    if len(token) != _CHARACTERS or not token.isascii():
        return None
    try:
        system, lsn = _FORM.unpack(base64.b64decode(token, altchars=b"-_", validate=True))
    except (binascii.Error, struct.error):
        return None
    return Position(system, lsn)


def parse_lsn(text: str) -> int:
    """Postgres' `pg_lsn` as text, such as `16/B374D848`, in bytes; raises ValueError."""
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def shown_token(headers: Mapping[str, str]) -> str | None:
    """The token that a request shows, by header or by cookie; None without one."""
    token = headers.get(HEADER)
    if token is None and COOKIE in (cookies := headers.get("Cookie", "")):
        found = _IN_COOKIES.search(cookies)
        token = found[1] if found else None
    return token


_shown: ContextVar[str | None] = ContextVar("read_after", default=None)


def read_after() -> str | None:
    """The token that the request being handled has shown."""
    return _shown.get()


class ReadingAfter:
    """For the length of a `with`, reads are made as this token wants it."""

    __slots__ = ("_reset", "_token")

    def __init__(self, token: str | None) -> None:
        self._token = token
        self._reset: Token[str | None] | None = None

    def __enter__(self) -> None:
        self._reset = _shown.set(self._token)

    def __exit__(self, *_: object) -> None:
        if self._reset is not None:
            _shown.reset(self._reset)
