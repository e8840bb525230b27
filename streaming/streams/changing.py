"""Changes what a stream that is on is called and who may see it, and says so in the same transaction."""

from collections.abc import Callable
from uuid import UUID

import structlog

from eventbus.outbox import Outbox
from events import StreamUpdated, Visibility
from streaming import store
from streaming.errors import NotPrepared
from streaming.streams.bodies import StreamChange

log = structlog.get_logger(__name__)


class Changing:
    """Streams that are on."""

    def __init__(self, outbox: Outbox, *, on_change: Callable[[], None]) -> None:
        self._outbox = outbox
        self._on_change = on_change

    async def change(self, stream_id: UUID, change: StreamChange) -> bool:
        """Change a stream that is on; says nothing if nothing is different. False: it is over. Raises NotPrepared."""
        if "scheduled_at" in change.model_fields_set:
            raise NotPrepared("it has begun: when it is to begin cannot change any more")
        async with self._outbox.transaction() as transaction:
            connection = transaction.connection
            # Whatever ends the stream waits for this, or has ended it: no event follows its end.
            held = await store.lock_open_stream(connection, stream_id)
            row = await store.queries.find_changeable_stream(connection, stream_id=stream_id)
            if held is None or row is None:
                return False
            wanted = change.over(row)
            wanted["tags"] = list(wanted["tags"])
            if wanted == dict(row):
                return True
            before, now = Visibility(row["visibility"]), Visibility(wanted["visibility"])
            await store.queries.change_stream(connection, stream_id=stream_id, **wanted)
            await transaction.say(
                StreamUpdated(
                    stream_id=stream_id,
                    channel_id=held.channel_id,
                    title=wanted["title"],
                    category=wanted["category"],
                    tags=tuple(wanted["tags"]),
                    language=wanted["language"],
                    visibility=now,
                    visibility_before=before if before is not now else None,
                    updated_at=held.now,
                )
            )
        self._on_change()
        log.info("stream_changed", stream_id=str(stream_id), visibility=now.value)
        return True
