"""The subscription of one gateway to Redis, watched: it always knows whether it hears.

A subscription has no history, so every way to lose messages must be seen. A connection that ends, by either side, ends
the session; a server that is frozen answers no PING and ends it too; nothing here reconnects silently. Each new session
subscribes to everything again, and a listener learns from Redis' own confirmation, in the order of the stream, from
where on it hears.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable

import structlog
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from chat import metrics
from chat.brokers.broker import Listener, Position
from runtime.backoff import Backoff
from runtime.cancellation import raise_if_cancelled

log = structlog.get_logger(__name__)

PING_SECONDS = 1.5
RECONNECT_FIRST_SECONDS = 0.1
RECONNECT_CEILING_SECONDS = 2.0
CHANNELS_PER_COMMAND_MAX = 500
CONNECT_SECONDS_MAX = 5.0
DOUBT_SECONDS = 0.5
"""For so long a master that was deposed and does not know it may still be written to: what it takes is lost."""


class RedisLink:
    """Channels and who listens to them; `run` keeps hearing them. Silent for `silence_seconds` means lost.

    With ``sharded`` it hears one server's slots of a cluster, and calls ``moved`` when that gives a channel away or
    refuses one. ``believed`` is asked again and again whether this still is the right server.
    """

    def __init__(
        self,
        pool: ConnectionPool,
        *,
        silence_seconds: float,
        sharded: bool = False,
        moved: Callable[[], None] | None = None,
        believed: Callable[[AbstractConnection], Awaitable[bool]] | None = None,
    ) -> None:
        if silence_seconds <= PING_SECONDS:
            raise ValueError(f"silence_seconds must be above the {PING_SECONDS} s between pings")
        self._pool = pool
        self._silence_seconds = silence_seconds
        self._subscribe, self._unsubscribe = (
            (b"SSUBSCRIBE", b"SUNSUBSCRIBE") if sharded else (b"SUBSCRIBE", b"UNSUBSCRIBE")
        )
        # A command for channels of several slots is refused.
        self._channels_per_command = 1 if sharded else CHANNELS_PER_COMMAND_MAX
        self._moved = moved or _nothing
        self._believed = believed
        self._listeners: dict[bytes, Listener] = {}
        self._asked: set[bytes] = set()  # of this session: SUBSCRIBE was sent
        self._heard: set[bytes] = set()  # of this session: and confirmed
        self._changed = asyncio.Event()
        self._backoff = Backoff(RECONNECT_FIRST_SECONDS, RECONNECT_CEILING_SECONDS)
        self._heard_at = 0.0
        self.connected = False

    @property
    def whole(self) -> bool:
        """Whether everything is heard."""
        return self.connected

    def reaches(self, _channel: bytes) -> bool:
        """Whether the server of a channel is heard."""
        return self.connected

    def listen(self, channel: bytes, listener: Listener) -> None:
        """Hear a channel from its confirmation on."""
        self._listeners[channel] = listener
        if channel in self._heard:
            listener.connected()
        self._changed.set()

    def forget(self, channel: bytes) -> bool:
        """Hear it no more; the answer is whether it was heard until now."""
        if self._listeners.pop(channel, None) is None:
            return False
        self._changed.set()
        return channel in self._heard

    async def run(self) -> None:
        """Hold sessions, one after the other, until cancelled."""
        while True:
            try:
                await self._session()
            except* (RedisError, OSError) as lost:
                self._lost(lost.exceptions[0])
            raise_if_cancelled()
            await self._backoff.wait()

    async def _session(self) -> None:
        async with asyncio.timeout(CONNECT_SECONDS_MAX):
            connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]  # redis-py: *args untyped
        try:
            raise_if_cancelled()
            async with asyncio.TaskGroup() as tasks:
                self._heard_at = time.monotonic()
                tasks.create_task(self._read(connection), name="chat-link-read")
                tasks.create_task(self._watch(), name="chat-link-watch")
                if self._believed is not None:
                    tasks.create_task(self._doubt(connection, self._believed), name="chat-link-doubt")
                # Here and not in a task: a group that only waits loses count of who cancelled it (Python 3.11).
                await self._write(connection)
        finally:
            await connection.disconnect(nowait=True)
            await self._pool.release(connection)

    async def _doubt(
        self, connection: AbstractConnection, believed: Callable[[AbstractConnection], Awaitable[bool]]
    ) -> None:
        """End the session when this is the right server no more; not when nobody can say."""
        while True:
            await asyncio.sleep(DOUBT_SECONDS)
            try:
                right = await believed(connection)
            except (RedisError, OSError):
                continue
            if not right:
                await self._pool.disconnect(inuse_connections=False)
                raise RedisConnectionError("another server is the master now")

    def _lost(self, error: BaseException) -> None:
        was_connected, self.connected = self.connected, False
        self._asked.clear()
        self._heard.clear()
        metrics.broker_connected.set(0)
        if was_connected:
            log.warning("chat_broker_lost", reason=str(error) or type(error).__name__)
            for listener in list(self._listeners.values()):
                listener.disconnected()

    async def _write(self, connection: AbstractConnection) -> None:
        """Send what changes in the wishes, and pings in between so that a healthy server is never silent."""
        await self._send(connection, b"PING")
        self._changed.set()
        while True:
            try:
                async with asyncio.timeout(PING_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                await self._send(connection, b"PING")
                continue
            self._changed.clear()
            gone = [channel for channel in self._asked if channel not in self._listeners]
            new = [channel for channel in self._listeners if channel not in self._asked]
            self._asked.difference_update(gone)
            self._heard.difference_update(gone)
            self._asked.update(new)
            await self._send_many(connection, self._unsubscribe, gone)
            await self._send_many(connection, self._subscribe, new)

    async def _send_many(self, connection: AbstractConnection, command: bytes, channels: list[bytes]) -> None:
        step = self._channels_per_command
        for start in range(0, len(channels), step):
            await self._send(connection, command, *channels[start : start + step])

    async def _send(self, connection: AbstractConnection, *command: bytes) -> None:
        # The client would connect anew inside a send, without the subscriptions: such a session must end instead.
        if not connection.is_connected:
            raise RedisConnectionError("the connection was closed")
        await connection.send_command(*command, check_health=False)
        # The wait_for in there may swallow it (Python 3.11), and a ping may be due just when silence is found.
        raise_if_cancelled()

    async def _watch(self) -> None:
        """End a session that is silent; a timeout around every read instead would cost more than the read."""
        left_seconds = self._silence_seconds
        while left_seconds > 0:
            await asyncio.sleep(left_seconds)
            left_seconds = self._heard_at + self._silence_seconds - time.monotonic()
        raise RedisConnectionError(f"silent for {self._silence_seconds:g} s")

    async def _read(self, connection: AbstractConnection) -> None:
        while True:
            try:
                answer = await connection.read_response(timeout=math.inf, disconnect_on_error=False, push_request=True)
            except ResponseError as refusal:
                self._refused(refusal)
                continue
            finally:
                self._heard_at = time.monotonic()
            if not self.connected:
                self._found()
            if isinstance(answer, list) and len(answer) == 3:
                self._hear(*answer)

    def _found(self) -> None:
        self.connected = True
        self._backoff.reset()
        metrics.broker_connected.set(1)
        log.info("chat_broker_connected", channels=len(self._listeners))

    def _refused(self, refusal: ResponseError) -> None:
        """A channel is not this server's (the answer does not say which): whoever is not heard may be elsewhere."""
        if not self._unsubscribe.startswith(b"SUN"):
            raise refusal
        log.info("chat_link_refused", reason=str(refusal))
        self._asked.intersection_update(self._heard)
        self._moved()

    def _hear(self, kind: bytes, channel: bytes, payload: bytes) -> None:
        listener = self._listeners.get(channel)
        if kind in (b"message", b"smessage"):
            if listener is not None:
                _deliver(listener, payload)
        elif kind in (b"subscribe", b"ssubscribe"):
            if listener is not None and channel in self._asked:
                self._heard.add(channel)
                listener.connected()
        elif kind == b"sunsubscribe" and channel in self._asked:
            # Not asked for: the slot has left this server.
            self._asked.discard(channel)
            self._heard.discard(channel)
            if listener is not None:
                listener.disconnected()
            self._moved()


def _nothing() -> None:
    """Nobody wants to know."""


def _deliver(listener: Listener, payload: bytes) -> None:
    """Hand on what the scripts publish: `m <offset> <epoch> <body>`, or `s <body>` for a signal."""
    if payload.startswith(b"m "):
        _, offset, epoch, body = payload.split(b" ", 3)
        listener.published(Position(int(offset), epoch.decode()), body)
    elif payload.startswith(b"s "):
        listener.signalled(payload[2:])
