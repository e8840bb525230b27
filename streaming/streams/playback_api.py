"""How people get at the video of a stream: addresses, invitations, and the question that the edge asks."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from events import Visibility
from runtime.endpoints import endpoint
from runtime.postgres import Pool
from runtime.problems import Forbidden
from runtime.tokens import Caller
from streaming import store
from streaming.errors import InvitationExpired, NotYourStream, PrivatePlaybackOff, StreamIsOver, StreamNotFound
from streaming.streams.bodies import InvitationRequest, PlaybackRequest
from streaming.streams.finding import Finding, is_own
from streaming.streams.playback import PlaybackSigner, earlier
from streaming.streams.views import StreamPath, StreamStatus, StreamView, live_url

log = structlog.get_logger(__name__)

VISIBILITY_HEADER = "X-Stream-Visibility"


class PlaybackView(BaseModel):
    """Where a stream plays."""

    model_config = ConfigDict(frozen=True)

    playback_url: str = Field(description="Where the playlist is; of a private stream a secret.")
    expires_at: datetime | None = Field(
        description="Until when it opens: ask again before, and go on with the new one. Null: as long as it is on."
    )
    stream: StreamView


class InvitationView(BaseModel):
    """What lets others watch a private stream."""

    model_config = ConfigDict(frozen=True)

    invitation: str = Field(
        description="Secret: put it into a link's fragment (after #), never into its query. Nothing takes it back."
    )
    expires_at: datetime


class Playback:
    """Addresses of streams that are on."""

    tag = "streams"

    def __init__(self, finding: Finding, signer: PlaybackSigner | None, *, seconds_max: float) -> None:
        self._finding = finding
        self._own_signer = signer
        self._seconds_max = seconds_max

    @endpoint(
        "POST",
        "/api/streams/{stream_id}/playback",
        problems=(StreamNotFound, InvitationExpired, StreamIsOver, PrivatePlaybackOff),
    )
    async def open_playback(
        self, caller: Caller | None, path: StreamPath, body: PlaybackRequest | None
    ) -> PlaybackView:
        """Get an address that a stream plays at.

        A private one is opened for its streamer and for whoever has an invitation; the address lasts for minutes and
        may be asked for again while it plays. Other streams have one address for everybody.
        """
        now = datetime.now(UTC)
        stream = await self._finding.find(path.stream_id)
        until = None
        if stream.visibility is Visibility.PRIVATE and not is_own(stream, caller):
            until = self._invited_until(path.stream_id, stream, body)
            if until <= now:
                raise InvitationExpired("ask the streamer for another one")
        if stream.status not in (StreamStatus.LIVE, StreamStatus.INTERRUPTED):
            raise StreamIsOver("a stream plays here while it is on")
        if stream.visibility is not Visibility.PRIVATE:
            address = stream.playback_url or live_url(stream.stream_id)
            return PlaybackView(playback_url=address, expires_at=None, stream=stream)
        signed = self._signer.sign(stream.stream_id, earlier(now, self._seconds_max, until))
        return PlaybackView(playback_url=signed.url, expires_at=signed.expires_at, stream=stream)

    @endpoint(
        "POST",
        "/api/streams/{stream_id}/invitations",
        problems=(StreamNotFound, NotYourStream, StreamIsOver, PrivatePlaybackOff),
        status=201,
    )
    async def invite(self, caller: Caller, path: StreamPath, body: InvitationRequest | None) -> InvitationView:
        """Make an invitation to a private stream of one's own, also to one that is prepared.

        Whoever has it may get addresses of the stream (`POST …/playback`) until it expires.
        """
        stream = await self._finding.owned_by(caller, path.stream_id)
        if stream.status is StreamStatus.ENDED:
            raise StreamIsOver("nobody can be invited to a stream that is over")
        until = datetime.now(UTC) + timedelta(minutes=(body or InvitationRequest()).minutes)
        log.info("stream_invitation_made", stream_id=str(path.stream_id), expires_at=until.isoformat())
        invitation = self._signer.invite(path.stream_id, until)
        return InvitationView(invitation=invitation, expires_at=until.replace(microsecond=0))

    @property
    def _signer(self) -> PlaybackSigner:
        """Raises PrivatePlaybackOff."""
        if self._own_signer is None:
            raise PrivatePlaybackOff("LIVESTREAM_STREAMING_PLAYBACK_SECRET is not set at this server")
        return self._own_signer

    def _invited_until(self, asked_for: UUID, stream: StreamView, body: PlaybackRequest | None) -> datetime:
        invitation = body.invitation if body is not None else None
        ids = (asked_for, stream.stream_id)
        signer = self._own_signer  # without one, a stranger is not told that there is a stream
        until = signer.invited_until(ids, invitation) if signer is not None and invitation is not None else None
        if until is None:
            raise StreamNotFound("no stream has this id")
        return until


class LivePath(BaseModel):
    """What stands where a stream's id should be; the edge lets all sorts of things through."""

    model_config = ConfigDict(frozen=True)

    stream: str


class PlaybackChecks:
    """Asked by the edge alone, which does not pass this path on from outside."""

    tag = "between the services"

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @endpoint("GET", "/internal/streams/{stream}/playback", problems=(Forbidden,), status=204, raw=True, limit=None)
    async def check_live_playback(self, path: LivePath) -> web.Response:
        """Answer 204 with who may see the stream if everybody may play it at its plain address, or 403."""
        try:
            stream_id = UUID(path.stream)
        except ValueError as error:
            raise Forbidden("this is the id of no stream") from error
        visibility = await store.queries.find_visibility(self._pool, stream_id=stream_id)
        if visibility is None or visibility == Visibility.PRIVATE:
            raise Forbidden("not at its plain address")
        return web.Response(status=204, headers={VISIBILITY_HEADER: visibility})
