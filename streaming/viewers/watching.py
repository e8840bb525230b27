"""What a player carries between its heartbeats, signed, and when a heartbeat counts; pure, no clock and no store.

A viewer is somebody whose player says, every 20 s, that it plays and how far it is. The first heartbeat only gets a
cookie. One counts that comes at least 10 s after the one before, with another position: a player that is paused, a
page that was left open and a script that sends the same thing again do not watch. Everything that is needed to tell is
in the cookie, so any process can, and none has to remember a viewer.

A cookie is of one stream alone, with an id of its own: from two streams nobody can tell that the same person watched.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
import struct
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

INTERVAL: Final = timedelta(seconds=20)
"""How often a player says that it plays."""
INTERVAL_MIN: Final = timedelta(seconds=10)
"""What comes sooner after the one before changes nothing."""
BEGINNING_MAX: Final = timedelta(seconds=90)
"""A cookie that has not counted by then begins again: each can be somebody new only once, and only in its beginning."""
LIFETIME: Final = timedelta(hours=24)
MOVED_SECONDS: Final = 0.5
"""A position that differs by less is the same."""
POSITION_SECONDS_MAX: Final = 4_000_000.0  # 46 days, what 32 bits of milliseconds hold

ID_BYTES: Final = 10
COOKIE_CHARACTERS: Final = 52

_FIELDS: Final = struct.Struct(
    f">{ID_BYTES}sIIIB"
)  # id, made at, beat at (seconds), position (ms), whether it has counted
_MAC_BYTES: Final = 16
_KEY_LABEL: Final = b"livestream viewer cookie 1"


@dataclass(frozen=True, slots=True)
class Watching:
    """One viewer of one stream, as the cookie has it. Times are seconds since 1970."""

    viewer_id: bytes
    made_at: int
    beat_at: int
    position_ms: int
    counted: bool = False


@dataclass(frozen=True, slots=True)
class Beat:
    """What a heartbeat comes to."""

    watching: Watching
    """What the player carries from now on."""
    counts: bool
    is_new: bool = False
    """It counts for the first time."""


def beat(before: Watching | None, position_seconds: float, now: float) -> Beat:
    """The outcome of a heartbeat at ``now`` from whoever carries ``before`` (None: nothing that is ours)."""
    position_ms = int(min(position_seconds, POSITION_SECONDS_MAX) * 1_000)
    if before is None or _is_over(before, now):
        return Beat(Watching(secrets.token_bytes(ID_BYTES), int(now), int(now), position_ms), counts=False)
    elapsed = now - before.beat_at
    if elapsed < INTERVAL_MIN.total_seconds():
        return Beat(before, counts=False)
    if abs(position_ms - before.position_ms) < MOVED_SECONDS * 1_000:
        return Beat(before, counts=False)
    after = Watching(before.viewer_id, before.made_at, int(now), position_ms, counted=True)
    return Beat(after, counts=True, is_new=not before.counted)


def _is_over(watching: Watching, now: float) -> bool:
    age = now - watching.made_at
    return age < 0 or age > (LIFETIME if watching.counted else BEGINNING_MAX).total_seconds()


class ViewerCookies:
    """Writes and reads cookies. Keys are made of secrets of the service by RFC 5869's extract, for nothing else."""

    def __init__(self, secret: bytes, *further: bytes) -> None:
        """``secret`` signs; what the ``further`` ones have signed is read as well."""
        self._keys = [hmac.digest(_KEY_LABEL, one, hashlib.sha256) for one in (secret, *further)]

    def write(self, stream_id: UUID, watching: Watching) -> str:
        """The cookie's value: `COOKIE_CHARACTERS` characters of base64url."""
        fields = _FIELDS.pack(
            watching.viewer_id, watching.made_at, watching.beat_at, watching.position_ms, watching.counted
        )
        return base64.urlsafe_b64encode(fields + _mac(self._keys[0], stream_id, fields)).decode()

    def read(self, stream_id: UUID, cookie: str | None) -> Watching | None:
        """What a cookie of this stream says; None for one that is not ours, or is another stream's."""
        if cookie is None or len(cookie) != COOKIE_CHARACTERS:
            return None
        try:
            signed = base64.b64decode(cookie, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        fields, mac = signed[: _FIELDS.size], signed[_FIELDS.size :]
        if not any(hmac.compare_digest(mac, _mac(key, stream_id, fields)) for key in self._keys):
            return None
        viewer_id, made_at, beat_at, position_ms, counted = _FIELDS.unpack(fields)
        return Watching(viewer_id, made_at, beat_at, position_ms, bool(counted))

    def address(self, stream_id: UUID, address: str) -> str:
        """A name for an address that tells nobody the address, and another one for every stream."""
        return hmac.digest(self._keys[0], stream_id.bytes + b"address" + address.encode(), hashlib.sha256)[:9].hex()


def _mac(key: bytes, stream_id: UUID, fields: bytes) -> bytes:
    return hmac.digest(key, stream_id.bytes + fields, hashlib.sha256)[:_MAC_BYTES]
