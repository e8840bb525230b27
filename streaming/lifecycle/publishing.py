"""Applies what media servers and streamers ask to the channels' streams: one transaction each, with its event in it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from eventbus.outbox import Outbox, Transaction
from events import EndReason, StreamEnded, StreamStarted
from runtime.ids import uuid7
from runtime.postgres import Pool
from streaming import metrics, store
from streaming.channels.keys import digest
from streaming.errors import MediaServerUnavailable
from streaming.ingest.commands import IngestCommand, IngestEvent, Session
from streaming.lifecycle.lifecycle import (
    Alive,
    EndRequest,
    Gone,
    Input,
    OpenStream,
    Publish,
    Status,
    Step,
    Verdict,
    step,
)
from streaming.servers.media_server import MediaServers
from streaming.store import Begun, ChannelStream

log = structlog.get_logger(__name__)

ATTEMPTS_MAX: Final = 5


@dataclass(frozen=True, slots=True)
class Answer:
    """What a media server is told."""

    verdict: Verdict
    reason: str
    stream_id: UUID | None = None
    """The stream to publish into; only with an accepted publish."""


class Publishing:
    """The streams of all channels, as publishers come and go."""

    def __init__(
        self,
        outbox: Outbox,
        pool: Pool,
        media_servers: MediaServers,
        *,
        close_seconds_max: float,
        on_change: Callable[[], None],
    ) -> None:
        self._outbox = outbox
        self._pool = pool
        self._media_servers = media_servers
        self._close_seconds_max = close_seconds_max
        self._on_change = on_change

    async def handle(self, command: IngestCommand) -> Answer:
        """The answer to a media server's hook. Doing it twice does no more than doing it once."""
        if command.event is IngestEvent.PUBLISH:
            return await self._publish(command)
        if command.event is IngestEvent.ALIVE:
            return await self._go_on(command, Alive(command.session, command.publishing_seconds))
        return await self._go_on(command, Gone(command.session, command.happened_at))

    async def end(self, stream_id: UUID, reason: EndReason = EndReason.STREAMER) -> None:
        """End an open stream for somebody who may; nothing happens if it is over.

        Whose key is to be refused from now on is refused before this is asked for. The publisher is dropped first, so
        that the last segment is written before anybody hears of the end.
        """
        found = await store.find_session(self._pool, stream_id)
        dropped, accepted_seconds_ago = found or (None, 0.0)
        if dropped is not None:
            await self._close(stream_id, dropped, accepted_seconds_ago)
        async with self._outbox.transaction() as transaction:
            held = await store.lock_open_stream(transaction.connection, stream_id)
            if held is None:
                return
            outcome = step(held.stream, EndRequest(reason), held.now)
            await keep(transaction, held, outcome)
        self._on_change()
        log_outcome(held, outcome)
        if held.stream.session != dropped:  # one that came back in between
            await self._drop(held.stream.session, _seconds(held.stream.session_started_at, held.now))

    async def _publish(self, command: IngestCommand) -> Answer:
        async with self._outbox.transaction() as transaction:
            outcome = await _begin_or_resume(transaction, command)
        if outcome is None or outcome.stream is None:
            return Answer(Verdict.REFUSED, "no channel that may stream has this stream key")
        self._on_change()
        _log_publish(outcome, outcome.stream)
        if outcome.replaced is not None and outcome.replaced_started_at is not None:
            accepted = _seconds(outcome.replaced_started_at, outcome.stream.session_started_at)
            await self._take_over(outcome.replaced, accepted)
        return Answer(Verdict.ACCEPTED, "publish", outcome.stream.stream_id)

    async def _go_on(self, command: IngestCommand, happened: Input) -> Answer:
        async with self._outbox.transaction() as transaction:
            found = await _lock_open_stream(transaction, command)
            if found is None:
                return _unknown(happened)
            held, banned = found
            if isinstance(happened, Alive) and banned:
                return Answer(Verdict.REFUSED, "the channel is banned")
            outcome = step(held.stream, happened, held.now)
            await keep(transaction, held, outcome)
        if outcome.stream is not None and outcome.stream.status is not held.stream.status:
            self._on_change()
            log_outcome(held, outcome)
        return Answer(outcome.verdict, "the stream has another publisher" if outcome.verdict is Verdict.REFUSED else "")

    async def _take_over(self, replaced: Session, accepted_seconds_ago: float) -> None:
        metrics.takeovers.inc()
        dropped = await self._drop(replaced, accepted_seconds_ago)
        log.info("publisher_replaced", server=replaced.server, client=replaced.client, dropped=dropped)

    async def _close(self, stream_id: UUID, session: Session, accepted_seconds_ago: float) -> None:
        try:
            async with asyncio.timeout(self._close_seconds_max):
                await self._media_servers.drop(session, accepted_seconds_ago=accepted_seconds_ago)
                closed = await self._media_servers.of(session.server).wait_closed(stream_id)
        except (MediaServerUnavailable, TimeoutError) as error:
            log.warning("publisher_not_dropped", stream_id=str(stream_id), reason=str(error) or "too slow")
            return
        if not closed:
            log.warning("publisher_slow_to_close", stream_id=str(stream_id))

    async def _drop(self, session: Session, accepted_seconds_ago: float) -> bool:
        # If this fails, the publisher's next sign of life is refused, which makes the media server drop it as well; and
        # where a media server gives no signs, the reconciler finds somebody whom no stream listens to.
        try:
            async with asyncio.timeout(self._close_seconds_max):
                return await self._media_servers.drop(session, accepted_seconds_ago=accepted_seconds_ago)
        except (MediaServerUnavailable, TimeoutError) as error:
            reason = str(error) or "too slow"
            log.warning("publisher_not_dropped", server=session.server, client=session.client, reason=reason)
            return False


async def keep(transaction: Transaction, before: ChannelStream, outcome: Step) -> None:
    """Write what became of an open stream, and say so if it is over; nothing if nothing changed."""
    if outcome.ended is not None:
        await end_stream(transaction, before, outcome.ended)
    elif outcome.stream is not None and outcome.stream != before.stream:
        await store.save_open_stream(transaction.connection, before.stream, outcome.stream, before.key_hash)


async def end_stream(transaction: Transaction, held: ChannelStream, reason: EndReason) -> None:
    """Close an open stream that is held, and say so."""
    ended = await store.queries.end_stream(
        transaction.connection, stream_id=held.stream.stream_id, ended_at=held.now, reason=reason.value
    )
    if ended:
        await transaction.say(
            StreamEnded(
                stream_id=held.stream.stream_id,
                channel_id=held.channel_id,
                started_at=held.stream.started_at,
                ended_at=held.now,
                reason=reason,
            )
        )


def log_outcome(before: ChannelStream, outcome: Step) -> None:
    """Tell the log and the metrics of a stream whose status changed (after the commit)."""
    facts = {"stream_id": str(before.stream.stream_id), "channel_id": str(before.channel_id)}
    if outcome.ended is not None:
        metrics.streams_ended.labels(outcome.ended.value).inc()
        log.info("stream_ended", reason=outcome.ended.value, **facts)
    elif outcome.stream is not None and outcome.stream.status is Status.INTERRUPTED:
        log.info("stream_interrupted", silent=outcome.stream.silent, **facts)
    elif outcome.stream is not None:
        log.info("stream_resumed", **facts)


async def _lock_open_stream(transaction: Transaction, command: IngestCommand) -> tuple[ChannelStream, bool] | None:
    if command.key is None:
        return await store.lock_open_stream_of_session(transaction.connection, command.session)
    return await store.lock_open_stream_of_key(transaction.connection, digest(command.key))


async def _begin_or_resume(transaction: Transaction, command: IngestCommand) -> Step | None:
    """What a publish comes to; None for a key that is nobody's, or not that of the channel which the publisher claims.

    The usual case, a channel without an open stream, costs one statement. A stream that ends between two statements
    makes the next attempt begin one.
    """
    if command.key is None:
        return None
    key_hash, session = digest(command.key), command.session
    if command.channel_id is not None:
        owner = await store.queries.find_channel_of_key(transaction.connection, key_hash=key_hash)
        if owner != command.channel_id:
            return None
    publish = Publish(session, uuid7())
    connection = transaction.connection
    for _ in range(ATTEMPTS_MAX):
        begun = await store.begin_stream(connection, key_hash, publish.stream_id, session)
        if begun is not None:
            await transaction.say(_started(begun))
            return step(None, publish, begun.started_at)
        held = await store.lock_open_stream_of_channel_key(connection, key_hash)
        if held is not None:
            outcome = step(held.stream, publish, held.now)
            await keep(transaction, replace(held, key_hash=key_hash), outcome)
            return outcome
        if not await store.queries.is_stream_key(connection, key_hash=key_hash):
            return None
    raise TimeoutError("the channel's stream changed each time it was looked at")


def _seconds(since: datetime, now: datetime) -> float:
    return (now - since).total_seconds()


def _started(begun: Begun) -> StreamStarted:
    return StreamStarted(
        stream_id=begun.stream_id,
        channel_id=begun.channel_id,
        channel_name=begun.channel_name,
        title=begun.title,
        category=begun.category,
        tags=begun.tags,
        language=begun.language,
        visibility=begun.visibility,
        started_at=begun.started_at,
    )


def _log_publish(outcome: Step, stream: OpenStream) -> None:
    facts = {"stream_id": str(stream.stream_id), "server": stream.session.server, "client": stream.session.client}
    if outcome.started:
        metrics.streams_started.inc()
        log.info("stream_started", **facts)
    else:
        metrics.streams_resumed.inc()
        log.info("stream_resumed", **facts)


def _unknown(happened: Input) -> Answer:
    if isinstance(happened, Alive):
        return Answer(Verdict.REFUSED, "no open stream has this publisher")
    return Answer(Verdict.IGNORED, "no open stream has this publisher")
