"""One client's conversation: join first, then sends; everything else is refused with a clear frame.

The frames of a client are handled one after the other, so a client that sends fast waits for itself only.
"""

import asyncio
from dataclasses import dataclass
from uuid import UUID

import structlog
from aiohttp import WSMsgType, web

from chat import metrics
from chat.brokers.broker import Position
from chat.errors import RoomNotFound, RoomsUnavailable
from chat.rooms.audience import Seat
from chat.rooms.room import Room
from chat.rooms.rooms import Rooms
from chat.sockets import frames
from chat.sockets.admission import Admission
from chat.sockets.closecodes import CloseCode
from chat.sockets.member import Member
from chat.speaking.speaking import Refused, Saying, Speaker, Speaking
from chat.speaking.standing import Standing
from runtime.tokens import Caller, InvalidToken, KeysUnavailable, Verifier

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """The bounds of one connection."""

    join_timeout_seconds: float = 15.0
    room_wait_seconds: float = 30.0
    """How long a join may wait for a room that nobody can read yet."""
    room_quiet_seconds: float = 1.0
    """After this the waiting client is told that chat is unavailable."""
    bad_frames_max: int = 10


class Connection:
    """Serves one client until it leaves or is closed."""

    __slots__ = (
        "_admission",
        "_admitted",
        "_bad_frames",
        "_ending",
        "_limits",
        "_looking_up",
        "_receiving",
        "_room",
        "_rooms",
        "_seat",
        "_speaker",
        "_speaking",
        "_verifier",
        "_ws",
        "member",
    )

    def __init__(
        self,
        ws: web.WebSocketResponse,
        member: Member,
        *,
        admission: Admission,
        rooms: Rooms,
        speaking: Speaking,
        verifier: Verifier,
        limits: ConnectionLimits,
    ) -> None:
        self._ws = ws
        self.member = member
        member.on_slow = self.cut
        self._admission = admission
        self._admitted: UUID | None = None
        self._rooms = rooms
        self._speaking = speaking
        self._verifier = verifier
        self._limits = limits
        self._room: Room | None = None
        self._seat = Seat(member, frames.CHAT_FRAMES, touched=self._touched)
        self._speaker: Speaker | None = None
        self._looking_up: asyncio.Task[None] | None = None
        self._bad_frames = 0
        self._ending: CloseCode | None = None
        self._receiving: asyncio.Timeout | None = None

    async def serve(self) -> None:
        """Talk until the end. The socket is closed afterwards."""
        joined_by = _now() + self._limits.join_timeout_seconds
        try:
            while self._ending is None and not self._ws.closed:
                text = await self._receive(None if self._room is not None else joined_by)
                if text is not None:
                    await self._take(text)
        finally:
            if self._room is not None:
                self._room.leave(self._seat)
            if self._looking_up is not None:
                self._looking_up.cancel()
            if self._admitted is not None:
                self._admission.release_user(self._admitted)
        await self._say_goodbye()

    def end(self, code: CloseCode) -> None:
        """Have this connection closed soon, from whatever task; only the first reason counts.

        The conversation's own task does the closing: aiohttp waits for the client's answer to a close frame only there.
        """
        if self._ending is None:
            self._ending = code
            if self._receiving is not None and not self._receiving.expired():
                self._receiving.reschedule(_now())

    def cut(self) -> None:
        """End the connection of a client that does not read. It is sent nothing more."""
        if self._ending is None:
            metrics.slow_clients_cut.inc()
            log.info("chat_slow_client_cut", user_id=None if self._seat.user_id is None else str(self._seat.user_id))
        if self._room is not None:
            self._room.leave(self._seat)
        self.end(CloseCode.TOO_SLOW)

    async def _say_goodbye(self) -> None:
        """Tell the client why, give it a little time to answer, and be gone either way."""
        code = self._ending
        if code is None:
            return
        if code is CloseCode.TOO_SLOW:
            self.member.give_up_unsent()
        await self._ws.close(code=code, message=code.reason.encode(), drain=False)
        self.member.abort()

    # ------------------------------------------------------------------------------------- receiving

    async def _receive(self, until: float | None) -> str | None:
        """The next frame's text, "" for one that is not text, None at the end of it all."""
        try:
            async with asyncio.timeout_at(until) as self._receiving:
                received = await self._ws.receive()
        except TimeoutError:
            self._ending = self._ending or CloseCode.JOIN_TIMEOUT
            return None
        finally:
            self._receiving = None
        if received.type is WSMsgType.TEXT:
            return str(received.data)
        return "" if received.type is WSMsgType.BINARY else None

    async def _take(self, text: str) -> None:
        try:
            if not text:
                raise frames.BadFrame("bad-frame", "frames are JSON objects in text frames")
            frame = frames.read_client_frame(text)
            if isinstance(frame, frames.Join):
                await self._join(frame)
            else:
                await self._send(frame)
        except frames.BadFrame as bad:
            self._refuse(bad.code, bad.detail)
            self._bad_frames += 1
            if self._bad_frames >= self._limits.bad_frames_max:
                self.end(CloseCode.TOO_MANY_BAD_FRAMES)

    def _refuse(
        self, code: frames.ErrorCode, detail: str, send_id: str | None = None, retry_after: float | None = None
    ) -> None:
        metrics.refused_frames.labels(code).inc()
        seconds = None if retry_after is None else max(1, -int(-retry_after // 1))
        error = frames.ErrorFrame(code=code, detail=detail, id=send_id, retry_after_seconds=seconds)
        self.member.write(frames.to_bytes(error))

    # ------------------------------------------------------------------------------------- join

    async def _join(self, join: frames.Join) -> None:
        if self._room is not None:
            raise frames.BadFrame("already-joined", "one connection is one room: connect again for another")
        try:
            caller = None if join.token is None else await self._verifier.verify(join.token)
            room = await self._rooms.open(join.room)
        except InvalidToken as error:
            raise frames.BadFrame("not-authenticated", f"token: {error}") from error
        except RoomNotFound as error:
            raise frames.BadFrame("room-not-found", "no channel has this id") from error
        except (KeysUnavailable, RoomsUnavailable):
            self._refuse("unavailable", "joining is not possible now")
            self.end(CloseCode.UNAVAILABLE)
            return
        if not await self._ready(room):
            self.end(CloseCode.UNAVAILABLE)
            return
        if caller is not None and self._admitted is None:
            if not self._admission.admit_user(caller.user_id):
                self._refuse("too-many-connections", CloseCode.TOO_MANY_OF_USER.reason)
                self.end(CloseCode.TOO_MANY_OF_USER)
                return
            self._admitted = caller.user_id
        since = None if join.since is None else Position(join.since.offset, join.since.epoch)
        await self._enter(room, caller, since)

    async def _ready(self, room: Room) -> bool:
        """Wait for a room that has not been read yet; the client is told if that takes long."""
        try:
            async with asyncio.timeout(self._limits.room_quiet_seconds):
                await room.ready()
        except TimeoutError:
            self.member.write(frames.to_bytes(frames.Status(chat="unavailable")))
        try:
            async with asyncio.timeout(self._limits.room_wait_seconds):
                await room.ready()
        except TimeoutError:
            return False
        return not self._ws.closed

    async def _enter(self, room: Room, caller: Caller | None, since: Position | None) -> None:
        speaker = None if caller is None else await self._speaking.introduce(room, caller)
        changes = room.standing_changes
        standing = None if speaker is None else speaker.standing
        seat = self._seat
        seat.moderates = standing is not None and standing.moderates
        start = await room.start_after(since, moderates=seat.moderates)
        # No await from here to the join: between them no flush may come, or the client would miss it.
        facts = room.facts
        joined = frames.Joined(
            room=room.room_id,
            channel_name=facts.channel_name,
            live_stream_id=facts.live_stream_id,
            you=None if caller is None else caller.user_id,
            offset=start.position.offset,
            epoch=start.position.epoch,
            recovered=start.recovered,
            chatters=max(room.chatters, room.members_count + 1),
            rules=facts.rules,
            pinned=facts.pinned,
            poll=facts.poll,
            standing=None if standing is None else _view(standing),
            history=(),
        )
        self.member.start(frames.joined_frame(joined, start.history))
        if not room.available:
            self.member.write(frames.to_bytes(frames.Status(chat="unavailable")))
        if caller is not None:
            seat.user_id, seat.username = caller.user_id, caller.name
        self._room, self._speaker = room, speaker
        room.join(seat)
        if room.standing_changes != changes:
            self._touched()  # nobody told this seat, which was not there yet
        outcome = "recovered" if start.recovered else "fresh" if since is None else "not-recovered"
        metrics.joins.labels(outcome).inc()

    # ------------------------------------------------------------------------------------- standing

    def _touched(self) -> None:
        """Leave a room that has ended, or look again what this person may do.

        A change during a look-up is found by that.
        """
        if self._room is not None and self._room.ended:
            self.end(CloseCode.ROOM_GONE)
        elif self._looking_up is None or self._looking_up.done():
            self._looking_up = asyncio.create_task(self._look_up_standing())

    async def _look_up_standing(self) -> None:
        room, speaker = self._room, self._speaker
        if room is None or speaker is None:
            return
        speaker.looked_up_at = float("-inf")  # whatever comes of this, the next message looks again
        standing = await self._speaking.look_up(room, speaker)
        if standing is None or self._ending is not None:
            return
        if not room.promote(self._seat, moderates=standing.moderates):
            self.end(CloseCode.STANDING_CHANGED)
            return
        self.member.write(frames.to_bytes(frames.StandingChanged(standing=_view(standing))))

    # ------------------------------------------------------------------------------------- send

    async def _send(self, send: frames.Send) -> None:
        if self._room is None:
            raise frames.BadFrame("not-joined", "the first frame must be a join")
        if self._speaker is None:
            self._refuse("read-only", "only people who are logged in can write", send.id)
            return
        saying = Saying(send.id, send.text, send.kind, send.reply_to)
        try:
            position = await self._speaking.say(self._room, self._speaker, saying)
        except Refused as refused:
            self._refuse(refused.code, refused.detail, send.id, refused.retry_after_seconds)
        else:
            accepted = frames.Accepted(id=send.id, offset=position.offset, epoch=position.epoch)
            self.member.write(frames.to_bytes(accepted))


def _view(standing: Standing) -> frames.StandingView:
    return frames.StandingView(
        role=standing.role,
        banned=standing.banned,
        silent_until=None if standing.banned else standing.banned_until,
        followed_at=standing.followed_at,
    )


def _now() -> float:
    return asyncio.get_running_loop().time()
