"""Addresses that open a private stream's playlist for minutes, and invitations that such addresses are given for.

The edge checks an address by itself (nginx's secure_link, `deploy/nginx.conf`), so its form and its digest are
nginx's: MD5 over the expiry, the stream and, at the end, the secret, so that no digest can be extended. An invitation
is checked here alone, by HMAC-SHA256 under a key of its own that is made from the secret.
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from pydantic import SecretStr

from streaming.streams.views import live_url

_SIGNATURE: Final = re.compile(r"~(?P<expires>[0-9]{10})\.[A-Za-z0-9_-]{22}", re.ASCII)
_INVITATION: Final = re.compile(r"(?P<expires>[0-9]{10})\.(?P<digest>[A-Za-z0-9_-]{43})", re.ASCII)


@dataclass(frozen=True, slots=True)
class SignedUrl:
    """An address and until when it opens."""

    url: str
    expires_at: datetime


class PlaybackSigner:
    """Signs with the secret that the edge has as well."""

    def __init__(self, secret: SecretStr) -> None:
        self._secret = secret
        self._invitation_key = hashlib.sha256(b"livestream invitation\0" + secret.get_secret_value().encode()).digest()

    def sign(self, stream_id: UUID, until: datetime) -> SignedUrl:
        """The address of a stream's playlist that opens until a moment, rounded down to a second."""
        expires = int(until.timestamp())
        said = f"{expires} {stream_id} {self._secret.get_secret_value()}"
        digest = hashlib.md5(said.encode(), usedforsecurity=False).digest()
        folder, name = live_url(stream_id).rsplit("/", 2)[1:]
        return SignedUrl(f"/live/~{expires}.{_text(digest)}/{folder}/{name}", datetime.fromtimestamp(expires, tz=UTC))

    def opens(self, stream_id: UUID, signature: str) -> bool:
        """Whether this is what stands in an address of the stream, as `sign` made it, and has not expired."""
        found = _SIGNATURE.fullmatch(signature)
        if found is None:
            return False
        until = datetime.fromtimestamp(int(found["expires"]), tz=UTC)
        signed = self.sign(stream_id, until).url.split("/")[2]
        return hmac.compare_digest(signed, signature) and until > datetime.now(UTC)

    def invite(self, stream_id: UUID, until: datetime) -> str:
        """What lets whoever has it have addresses of this stream until a moment."""
        expires = int(until.timestamp())
        return f"{expires}.{self._digest(stream_id, expires)}"

    def invited_until(self, stream_ids: tuple[UUID, ...], invitation: str) -> datetime | None:
        """Until when an invitation to a stream under one of its ids lets people in; None: it is none."""
        found = _INVITATION.fullmatch(invitation)
        if found is None:
            return None
        expires = int(found["expires"])
        if not any(hmac.compare_digest(found["digest"], self._digest(one, expires)) for one in stream_ids):
            return None
        return datetime.fromtimestamp(expires, tz=UTC)

    def _digest(self, stream_id: UUID, expires: int) -> str:
        return _text(hmac.digest(self._invitation_key, f"{stream_id} {expires}".encode(), "sha256"))


def earlier(now: datetime, seconds: float, until: datetime | None) -> datetime:
    """`seconds` from now, or `until` if that comes before."""
    later = now + timedelta(seconds=seconds)
    return later if until is None else min(later, until)


def _text(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
