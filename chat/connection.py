"""One client's conversation: join first, then sends; everything else is refused with a clear frame.

The frames of a client are handled one after the other, so a client that sends fast waits for itself only.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import structlog
from aiohttp import WSMsgType, web

from chat import frames, metrics
from chat.broker import Allowance, Broker, Conditions, Position
from chat.closecodes import CloseCode
from chat.errors import BrokerUnavailable, RoomNotFound, RoomsUnavailable, SentTooOften
from chat.member import Member
from chat.room import Room
from chat.rooms import Rooms
from runtime.ids import uuid7
from runtime.tokens import Caller, InvalidToken, KeysUnavailable, Verifier

log = structlog.get_logger(__name__)

PACE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """The bounds of one connection."""

    messages_per_minute: int = 10
    join_timeout_seconds: float = 15.0
    room_wait_seconds: float = 30.0
    """How long a join may wait for a room that nobody can read yet."""
    room_quiet_seconds: float = 1.0
    """After this the waiting client is told that chat is unavailable."""
    bad_frames_max: int = 10


class Connection:
    """Serves one client until it leaves or is closed."""

    def __init__(
        self,
        ws: web.WebSocketResponse,
        member: Member,
        *,
        rooms: Rooms,
        broker: Broker,
        verifier: Verifier,
        limits: ConnectionLimits,
    ) -> None:
        self._ws = ws
        self.member = member
        member.on_slow = self.cut
        self._rooms = rooms
        self._broker = broker
        self._verifier = verifier
        self._limits = limits
        self._room: Room | None = None
        self._caller: Caller | None = None
        self._bad_frames = 0
        self._paced_until = 0.0
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
                self._room.leave(self.member)
        await self._say_goodbye()

    def end(self, code: CloseCode) -> None:
        """Have this connection closed soon, from whatever task; only the first reason counts.

        The conversation's own task does the closing: aiohttp waits for the client's answer to a close frame only there.
        """
        if self._ending is None:
            self._ending = code
            if self._receiving is not None:
                self._receiving.reschedule(_now())

    def cut(self) -> None:
        """End the connection of a client that does not read. It is sent nothing more."""
        if self._ending is None:
            metrics.slow_clients_cut.inc()
            log.info("chat_slow_client_cut", user_id=None if self._caller is None else str(self._caller.user_id))
        if self._room is not None:
            self._room.leave(self.member)
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
        start = await room.start_after(since)
        # No await from here to the join: between them no flush may come, or the client would miss it.
        joined = frames.Joined(
            room=room.room_id,
            channel_name=room.channel_name,
            live_stream_id=room.live_stream_id,
            you=None if caller is None else caller.user_id,
            offset=start.position.offset,
            epoch=start.position.epoch,
            recovered=start.recovered,
            chatters=max(room.chatters, room.members_count + 1),
            history=(),
        )
        self.member.start(frames.joined_frame(joined, start.history))
        if not room.available:
            self.member.write(frames.to_bytes(frames.Status(chat="unavailable")))
        room.join(self.member)
        self._room, self._caller = room, caller
        outcome = "recovered" if start.recovered else "fresh" if since is None else "not-recovered"
        metrics.joins.labels(outcome).inc()

    # ------------------------------------------------------------------------------------- send

    async def _send(self, send: frames.Send) -> None:
        if self._room is None:
            raise frames.BadFrame("not-joined", "the first frame must be a join")
        if self._caller is None:
            self._refuse("read-only", "only people who are logged in can write", send.id)
            return
        if _now() < self._paced_until:
            self._refuse("rate-limited", self._pace(), send.id, self._paced_until - _now())
            return
        try:
            with metrics.publish_seconds.time():
                published = await self._publish(self._room.room_id, self._caller, send)
        except SentTooOften as error:
            self._paced_until = _now() + error.retry_after_seconds
            self._refuse("rate-limited", self._pace(), send.id, error.retry_after_seconds)
        except BrokerUnavailable as error:
            log.warning("chat_publish_failed", reason=str(error))
            self._refuse("unavailable", "chat is not available now; repeat with the same id", send.id)
        else:
            metrics.published.inc()
            accepted = frames.Accepted(id=send.id, offset=published.offset, epoch=published.epoch)
            self.member.write(frames.to_bytes(accepted))

    async def _publish(self, room: UUID, caller: Caller, send: frames.Send) -> Position:
        if not self._broker.connected:
            raise BrokerUnavailable("the broker is not heard")
        body = frames.message_body(uuid7(), caller.user_id, caller.name, send.text, datetime.now(UTC))
        pace = Allowance("pace", str(caller.user_id), self._limits.messages_per_minute, PACE_SECONDS)
        published = await self._broker.publish(room, f"{caller.user_id}:{send.id}", body, Conditions((pace,)))
        return published.position

    def _pace(self) -> str:
        return f"at most {self._limits.messages_per_minute} messages a minute"


def _now() -> float:
    return asyncio.get_running_loop().time()
