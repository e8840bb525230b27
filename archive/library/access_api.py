"""How people are let in to a private recording: its owner makes a grant, a browser changes it for a cookie."""

from __future__ import annotations

from datetime import UTC, datetime

from aiohttp import web
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, SecretStr

from archive.library.access import COOKIE, GRANT, Access
from archive.library.api import ArchivePath
from archive.library.visibility import OWNERS_ALONE, owned_by
from archive.problems import GrantNotValid
from archive.store import Recordings
from runtime.endpoints import endpoint
from runtime.tokens import Caller

ACCESS_SECONDS_MAX = 43_200
HTTPS = "https"


class AccessRequest(BaseModel):
    """For how long."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: int = Field(
        default=ACCESS_SECONDS_MAX,
        ge=1,
        le=ACCESS_SECONDS_MAX,
        strict=True,
        description="How long it lasts; the installation may set less.",
    )


class AccessView(BaseModel):
    """Access to one private recording for whoever has it."""

    model_config = ConfigDict(frozen=True)

    grant: str = Field(description="Secret: shown once. Put it into a link's fragment (after #), never into its query.")
    expires_at: AwareDatetime
    playback_url: str = Field(description="What it opens.")
    cookie: str = Field(description="The cookie that carries it, for players that are no browser.")


class GrantShown(BaseModel):
    """A grant that somebody was given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    grant: SecretStr = Field(max_length=64, description="As `POST …/access` answered it.")


class AccessApi:
    """Access to private recordings."""

    tag = "archives"

    def __init__(
        self, recordings: Recordings, access: Access, *, playback_path: str, access_seconds_max: float
    ) -> None:
        self._recordings = recordings
        self._access = access
        self._playback_path = playback_path
        self._access_seconds_max = access_seconds_max

    @endpoint("POST", "/api/archives/{stream_id}/access", problems=OWNERS_ALONE, status=201)
    async def give_access(self, caller: Caller, path: ArchivePath, body: AccessRequest | None) -> AccessView:
        """Make a grant for a recording of one's own.

        Whoever has it can play the recording while it is private, until it expires or is taken back.
        """
        await owned_by(self._recordings, path.stream_id, caller)
        seconds = min((body or AccessRequest()).seconds, self._access_seconds_max)
        made = await self._access.grant(path.stream_id, seconds=seconds)
        folder = f"{self._playback_path}/{path.stream_id}"
        return AccessView(
            grant=made.token,
            expires_at=made.expires_at,
            playback_url=f"{folder}/master.m3u8",
            cookie=f"{COOKIE}={made.token}; Path={folder}/",
        )

    @endpoint("PUT", "/api/archives/{stream_id}/access", problems=(GrantNotValid,), raw=True, status=204)
    async def use_access(self, path: ArchivePath, body: GrantShown, request: web.Request) -> web.Response:
        """Change a grant for a cookie that this browser's player sends with every request for the recording.

        Answers 204 with Set-Cookie: HttpOnly, of the recording's path alone, until the grant expires.
        """
        token = body.grant.get_secret_value()
        expires_at = await self._access.expiry(path.stream_id, token) if GRANT.fullmatch(token) else None
        if expires_at is None:
            raise GrantNotValid("it is not of this recording, has expired, or was taken back")
        answer = web.Response(status=204, headers={"Cache-Control": "no-store"})
        answer.set_cookie(
            COOKIE,
            token,
            path=f"{self._playback_path}/{path.stream_id}/",
            max_age=max(1, int((expires_at - datetime.now(UTC)).total_seconds())),
            secure=_asked_by_https(request),
            httponly=True,
            samesite="Lax",
        )
        return answer

    @endpoint("DELETE", "/api/archives/{stream_id}/access", problems=OWNERS_ALONE)
    async def revoke_access(self, caller: Caller, path: ArchivePath) -> None:
        """Take back every grant of a recording of one's own; players notice within seconds."""
        await owned_by(self._recordings, path.stream_id, caller)
        await self._access.revoke(path.stream_id)


def _asked_by_https(request: web.Request) -> bool:
    """Whether the page that asks came by https: a proxy in front of the edge may be what speaks it, the page knows."""
    origin = request.headers.get("Origin", "")
    return origin.startswith(f"{HTTPS}://") or request.headers.get("X-Forwarded-Proto") == HTTPS
