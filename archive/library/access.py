"""Lets people in to private recordings: grants, and the question that the edge asks before it serves an object.

A grant is a random token for one recording and some hours. It travels in bodies and in a cookie of the recording's
path, so that no URL and no log has it; the database has its SHA-256. The edge remembers an answer for seconds
(`deploy/nginx.conf`), so what is asked here is asked once per recording and grant, never per segment.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog
from aiohttp import web
from pydantic import BaseModel, ConfigDict

from archive.store import QUERIES, Visibility
from runtime.endpoints import endpoint
from runtime.postgres import Pool
from runtime.problems import Forbidden

log = structlog.get_logger(__name__)

GRANT_BYTES = 32
# Of one recording; who makes more takes the oldest away.
GRANTS_MAX = 200
COOKIE = "livestream_playback"
GRANT_HEADER = "X-Playback-Grant"
VISIBILITY_HEADER = "X-Recording-Visibility"
GRANT = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Grant:
    """Access to one recording. ``token`` is the secret."""

    token: str
    expires_at: datetime


class Access:
    """Grants in Postgres."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def grant(self, stream_id: UUID, *, seconds: float) -> Grant:
        """Let whoever has the answer's token play the recording for a while."""
        made = Grant(secrets.token_urlsafe(GRANT_BYTES), datetime.now(UTC) + timedelta(seconds=seconds))
        async with self._pool.acquire() as connection, connection.transaction():
            await QUERIES.add_grant(
                connection, stream_id=stream_id, grant=_sha256(made.token), expires_at=made.expires_at
            )
            await QUERIES.drop_surplus_grants(connection, stream_id=stream_id, grants_max=GRANTS_MAX)
        log.info("playback_granted", stream_id=str(stream_id), expires_at=made.expires_at.isoformat())
        return made

    async def expiry(self, stream_id: UUID, token: str) -> datetime | None:
        """Until when the token plays this recording; None: it does not."""
        found: datetime | None = await QUERIES.find_grant(self._pool, stream_id=stream_id, grant=_sha256(token))
        return found

    async def revoke(self, stream_id: UUID) -> int:
        """Take back every grant of the recording; how many there were."""
        revoked: int = await QUERIES.revoke_grants(self._pool, stream_id=stream_id)
        log.info("playback_grants_revoked", stream_id=str(stream_id), grants=revoked)
        return revoked

    async def playable(self, stream_id: UUID, token: str | None) -> Visibility | None:
        """What the recording is, if whoever shows ``token`` may play it; None: not, or there is none."""
        row = await QUERIES.find_playback(
            self._pool, stream_id=stream_id, grant=None if token is None else _sha256(token)
        )
        if row is None or row["deleted"] or (row["visibility"] == "private" and not row["granted"]):
            return None
        visibility: Visibility = row["visibility"]
        return visibility


class PlaybackPath(BaseModel):
    """What stands where a recording's id should be; the edge lets all sorts of things through."""

    model_config = ConfigDict(frozen=True)

    recording: str


class PlaybackChecks:
    """Asked by the edge alone, which does not pass this path on from outside."""

    tag = "between the services"

    def __init__(self, access: Access) -> None:
        self._access = access

    @endpoint(
        "GET", "/internal/recordings/{recording}/playback", problems=(Forbidden,), status=204, raw=True, limit=None
    )
    async def check_playback(self, path: PlaybackPath, request: web.Request) -> web.Response:
        """Answer 204 with what the recording is, or 403."""
        try:
            stream_id = UUID(path.recording)
        except ValueError as error:
            raise Forbidden("this is the id of no recording") from error
        token = request.headers.get(GRANT_HEADER, "")
        visibility = await self._access.playable(stream_id, token if GRANT.fullmatch(token) else None)
        if visibility is None:
            raise Forbidden("not to whoever asks like this")
        return web.Response(status=204, headers={VISIBILITY_HEADER: visibility})


def _sha256(token: str) -> bytes:
    # No salt, no slow hash: it has 256 random bits.
    return hashlib.sha256(token.encode()).digest()
