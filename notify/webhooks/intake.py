"""What happens to a channel becomes messages for its streamer's endpoints, in the transaction that hears of it."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from eventbus.outbox import Transaction
from eventbus.subscription import Subscription
from events import ChatMessageSent, Envelope, RecordingPublished, StreamStarted, Visibility
from notify.webhooks import payloads, presets
from notify.webhooks.endpoints import Endpoint
from notify.webhooks.errors import TooManyTests, WebhookDisabled, WebhookNotFound
from notify.webhooks.messages import Listener, NewMessage, post_later
from notify.webhooks.payloads import ChannelEvent
from notify.webhooks.presets import Preset
from runtime.ids import uuid7
from runtime.postgres import Connection, Pool, load_queries

QUERIES = load_queries("notify")

GROUP = "notify-webhooks"
TESTS_PER_MINUTE_MAX = 10
MINUTE = timedelta(minutes=1)
NOBODY_LISTENS_SECONDS = 5.0
"""So long it is believed that no endpoint of a channel wants its chat: a room may say hundreds of messages a second."""
SILENT_CHANNELS_MAX = 10_000


class WebhookIntake:
    """Turns events into messages."""

    def __init__(
        self,
        *,
        endpoints_max: int,
        public_url: str | None,
        queued: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`public_url` is where announcements of the presets link to; None: they do not. `queued`: there is work."""
        self._queued = queued
        self._endpoints_max = endpoints_max
        self._public_url = public_url
        self._clock = clock
        self._nobody_listens: dict[UUID, float] = {}
        """Channels whose chat no endpoint wants, and until when that is believed."""

    def subscription(self) -> Subscription:
        """The consumer group: every event that an endpoint may ask for."""
        return Subscription(GROUP, dict.fromkeys(payloads.EVENTS, self.on_event))

    async def on_event(self, transaction: Transaction, envelope: Envelope[ChannelEvent]) -> None:
        """Log and queue the event for every endpoint of its channel that asked for it, under the event's id."""
        chat = isinstance(envelope.event, ChatMessageSent)
        if chat and self._nobody_listens.get(envelope.event.channel_id, 0.0) > self._clock():
            return
        listeners = await self._listeners(transaction.connection, envelope.event)
        if not listeners:
            if chat:
                self._note_silence(envelope.event.channel_id)
            return
        bodies = await self._bodies(transaction.connection, envelope, listeners)
        kind = envelope.event.type
        messages = [NewMessage(one, envelope.id, kind, bodies[one.preset]) for one in listeners if one.preset in bodies]
        await post_later(transaction.connection, messages)
        transaction.after_commit(self._queued)

    def _note_silence(self, channel_id: UUID) -> None:
        now = self._clock()
        if len(self._nobody_listens) >= SILENT_CHANNELS_MAX:
            self._nobody_listens = {one: until for one, until in self._nobody_listens.items() if until > now}
        if len(self._nobody_listens) < SILENT_CHANNELS_MAX:
            self._nobody_listens[channel_id] = now + NOBODY_LISTENS_SECONDS

    async def test(self, pool: Pool, endpoint: Endpoint) -> UUID:
        """Queue a `webhook.test` for an endpoint; its message's id. Raises WebhookDisabled, TooManyTests."""
        if endpoint.disabled_at is not None:
            raise WebhookDisabled(f"it is disabled ({endpoint.disabled_because}); enable it first")
        message_id, now = uuid7(), datetime.now(UTC)
        async with pool.acquire() as connection, connection.transaction():
            provider = await QUERIES.find_provider(connection, endpoint_id=endpoint.endpoint_id)
            if provider is None:
                raise WebhookNotFound(f"you have no webhook {endpoint.endpoint_id}")
            tests = await QUERIES.count_messages_of_type(
                connection,
                endpoint_id=endpoint.endpoint_id,
                after_message_id=_first_id_of(now - MINUTE),
                type=payloads.TEST_TYPE,
                messages_max=TESTS_PER_MINUTE_MAX,
            )
            if tests >= TESTS_PER_MINUTE_MAX:
                raise TooManyTests(
                    f"at most {TESTS_PER_MINUTE_MAX} tests a minute", retry_after_seconds=int(MINUTE.total_seconds())
                )
            listener = Listener(endpoint.endpoint_id, endpoint.user_id, endpoint.preset, provider)
            body = await self._test_body(connection, endpoint, now)
            await post_later(connection, [NewMessage(listener, message_id, payloads.TEST_TYPE, body)])
        return message_id

    async def _listeners(self, connection: Connection, event: ChannelEvent) -> Sequence[Listener]:
        rows = await QUERIES.find_listening_endpoints(
            connection,
            channel_id=event.channel_id,
            patterns=payloads.patterns_of(event.type),
            endpoints_max=self._endpoints_max,
        )
        return [Listener(**row) for row in rows]

    async def _bodies(
        self, connection: Connection, envelope: Envelope[ChannelEvent], listeners: Sequence[Listener]
    ) -> dict[str | None, str]:
        """What is posted, by preset."""
        bodies: dict[str | None, str] = {None: payloads.event_body(envelope)}
        event = envelope.event
        if not isinstance(event, StreamStarted | RecordingPublished) or not _is_announced(event):
            return bodies
        wanted = {one.preset for one in listeners if one.preset is not None}
        if not wanted:
            return bodies
        if isinstance(event, StreamStarted):
            name, title = event.channel_name, event.title
        else:
            row = await QUERIES.describe_stream(connection, channel_id=event.channel_id, stream_id=event.stream_id)
            name, title = row["channel_name"], row["title"]
        said = presets.announcement_of(event.type, event.stream_id, name=name, title=title, public_url=self._public_url)
        return bodies | {preset: presets.preset_body(Preset(preset), said) for preset in wanted}

    async def _test_body(self, connection: Connection, endpoint: Endpoint, now: datetime) -> str:
        if endpoint.preset is None:
            return payloads.trial_body(endpoint.endpoint_id, now)
        name = await QUERIES.find_username(connection, user_id=endpoint.user_id)
        said = presets.announcement_of(
            payloads.TEST_TYPE, endpoint.endpoint_id, name=name, title=None, public_url=self._public_url
        )
        return presets.preset_body(Preset(endpoint.preset), said)


def _first_id_of(moment: datetime) -> UUID:
    """Stands before every UUIDv7 of that moment and after (RFC 9562, section 5.7: milliseconds lead)."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


def _is_announced(event: StreamStarted | RecordingPublished) -> bool:
    """Nobody is called to what is hidden; nor to a clip, which was seen before in the recording it was cut from."""
    is_clip = isinstance(event, RecordingPublished) and event.clip_of is not None
    return event.visibility is Visibility.PUBLIC and not is_clip
