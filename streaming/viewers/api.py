"""What players say and what streamers ask about viewers."""

import re
import time
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from runtime.client_address import ClientAddresses
from runtime.endpoints import endpoint
from runtime.read_pool import ReadPool
from runtime.redis_batches import RedisAway
from runtime.tokens import Caller
from streaming import metrics, store
from streaming.errors import StreamNotFound
from streaming.streams.playback import PlaybackSigner
from streaming.streams.views import StreamPath
from streaming.viewers.audience import Audience
from streaming.viewers.counts import ViewerCounts
from streaming.viewers.open_streams import OpenStreams
from streaming.viewers.watching import INTERVAL, LIFETIME, POSITION_SECONDS_MAX, ViewerCookies, beat

COOKIE = "livestream_viewer"
POINTS_MAX = 500
SIGNATURE_CHARACTERS_MAX = 40
MINUTE = timedelta(minutes=1)


class Heartbeat(BaseModel):
    """What a player says of itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    position_seconds: float = Field(
        ge=0, le=POSITION_SECONDS_MAX, allow_inf_nan=False, description="How far the player is, by its own timeline."
    )
    signature: str | None = Field(
        default=None,
        max_length=SIGNATURE_CHARACTERS_MAX,
        description="Of a private stream: what stands behind `/live/` in the address that it plays at, `~` and all.",
    )


class HeartbeatView(BaseModel):
    """What the player is told."""

    next_seconds: int = Field(description="After so many seconds the next heartbeat is due.")
    viewers: int | None = Field(description="Who watches now; null while this player itself is not counted.")


class StatsPoint(BaseModel):
    """Viewers in one step of time."""

    at: datetime = Field(description="When the step begins.")
    viewers: int = Field(description="Who watched at the same time, on average over the step's minutes.")
    viewers_max: int = Field(description="The most of these minutes.")


class StreamStatsView(BaseModel):
    """Who watched a stream."""

    stream_id: UUID
    viewers: int | None = Field(description="Who watches now; null: cannot be said at the moment. 0 when it is over.")
    unique_viewers: int = Field(description="Different viewers, as of the last full minute.")
    peak_viewers: int = Field(description="The most at the same time, as of the last full minute.")
    average_viewers: float = Field(description="Over all its minutes.")
    viewer_minutes: int = Field(description="The minutes of all viewers together.")
    step_seconds: int = Field(description="The time from one point to the next.")
    points: list[StatsPoint] = Field(description=f"At most {POINTS_MAX}, oldest first.")


class Viewers:
    """Heartbeats and statistics."""

    tag = "streams"

    def __init__(
        self,
        reads: ReadPool,
        open_streams: OpenStreams,
        counts: ViewerCounts,
        audience: Audience,
        cookies: ViewerCookies,
        addresses: ClientAddresses,
        signer: PlaybackSigner | None,
    ) -> None:
        self._reads = reads
        self._open_streams = open_streams
        self._counts = counts
        self._audience = audience
        self._cookies = cookies
        self._addresses = addresses
        self._signer = signer

    @endpoint("POST", "/api/streams/{stream_id}/heartbeat", problems=(StreamNotFound,), raw=True, limit=None)
    async def heartbeat(self, path: StreamPath, body: Heartbeat, request: web.Request) -> web.Response:
        """Say that a player plays, every `next_seconds` (JSON); answers with the cookie that goes with the next one.

        Without Redis nobody is counted, and players go on.
        """
        stream_id = path.stream_id
        private = await self._open_streams.is_private(stream_id)
        if private is None or (private and not self._may_watch(stream_id, body)):
            raise StreamNotFound("no stream that is on has this id")
        said = beat(self._cookies.read(stream_id, _cookie(request)), body.position_seconds, time.time())
        outcome, viewers = "not-counted", None
        if said.counts:
            address = self._cookies.address(stream_id, self._addresses.of(request))
            try:
                viewers = await self._counts.watch(stream_id, said.watching.viewer_id, address, is_new=said.is_new)
                outcome = "too-many-of-address" if viewers is None else "counted"
            except RedisAway:
                outcome = "uncounted"
        metrics.heartbeats.labels(outcome).inc()
        view = HeartbeatView(next_seconds=_NEXT_SECONDS, viewers=viewers)
        cookie = (
            f"{COOKIE}={self._cookies.write(stream_id, said.watching)}; Max-Age={_LIFETIME_SECONDS}; "
            f"Path=/api/streams/{stream_id}/; HttpOnly; SameSite=Lax"
        )
        headers = {"Cache-Control": "no-store", "Set-Cookie": cookie}
        return web.Response(body=view.model_dump_json().encode(), content_type="application/json", headers=headers)

    def _may_watch(self, stream_id: UUID, body: Heartbeat) -> bool:
        return self._signer is not None and body.signature is not None and self._signer.opens(stream_id, body.signature)

    @endpoint("GET", "/api/streams/{stream_id}/stats", problems=(StreamNotFound,))
    async def get_stats(self, caller: Caller | None, path: StreamPath) -> StreamStatsView:
        """Who watched a stream and who watches it: sums, and viewers over time; of a private one for its streamer."""
        stream_id = path.stream_id
        stream = await store.queries.find_watched_stream(self._reads, stream_id=stream_id)
        if stream is None or not _may_see(stream, caller):
            raise StreamNotFound("no stream has this id")
        total = await store.queries.sum_stream_stats(self._reads, stream_id=stream_id)
        step, points = await self._points(stream_id, total)
        return StreamStatsView(
            stream_id=stream_id,
            viewers=0 if stream["status"] == "ended" else await self._audience.of(stream_id),
            unique_viewers=total["unique_viewers"],
            peak_viewers=total["peak_viewers"],
            average_viewers=round(total["viewer_minutes"] / max(1, total["minutes"]), 2),
            viewer_minutes=total["viewer_minutes"],
            step_seconds=step * 60,
            points=points,
        )

    async def _points(self, stream_id: UUID, total: asyncpg.Record) -> tuple[int, list[StatsPoint]]:
        if not total["minutes"]:
            return 1, []
        minutes = (total["last_minute"] - total["first_minute"]) // MINUTE + 1
        step = -(-minutes // POINTS_MAX)
        rows = await store.queries.list_stream_stats(
            self._reads, stream_id=stream_id, step=step, first_minute=total["first_minute"], points_max=POINTS_MAX
        )
        return step, [StatsPoint(at=row["at"], viewers=row["viewers"], viewers_max=row["viewers_max"]) for row in rows]


def _cookie(request: web.Request) -> str | None:
    """The viewer's cookie; reading all cookies as RFC 6265 has them takes a tenth of the time of this endpoint."""
    found = _VIEWER.search(request.headers.get("Cookie", ""))
    return found[1] if found else None


def _may_see(stream: asyncpg.Record, caller: Caller | None) -> bool:
    return stream["visibility"] != "private" or (caller is not None and caller.user_id == stream["channel_id"])


_VIEWER = re.compile(rf"(?:^|;) *{COOKIE}=([0-9A-Za-z_-]+)(?:;|$)")
_NEXT_SECONDS = int(INTERVAL.total_seconds())
_LIFETIME_SECONDS = int(LIFETIME.total_seconds())
