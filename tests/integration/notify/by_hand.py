"""Fan-outs whose steps a test makes itself, each in a transaction of its own."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID

from eventbus.outbox import Outbox, Transaction
from events import Envelope, Event, FanoutPagePlanned, RecordingPublished, StreamEnded, StreamStarted, StreamUpdated
from notify import fanout_store
from notify.fanout import Fanouts
from notify.fanout_part import limits_of
from notify.fanout_settings import FanoutSettings
from notify.fanout_store import Fanout, Limits
from notify.notices import Notice
from runtime.ids import uuid7
from runtime.postgres import Pool
from tests.integration.notify.processes import Person

E = TypeVar("E", bound=Event)

LIMITS = replace(
    limits_of(FanoutSettings(notify_page_followers_max=10, notify_window_pages_max=4)),
    cool_down=timedelta(0),
    day_fanouts=1_000,
)
"""Pages of 10 followers, 4 of them at a time; as many streams as one likes."""


@dataclass
class Heard:
    """What the connected would hear."""

    live: list[Notice] = field(default_factory=list)
    stored: list[Notice] = field(default_factory=list)

    async def announce(self, notice: Notice) -> None:
        """See `Announces`."""
        self.live.append(notice)

    async def announce_stored(self, notice: Notice) -> None:
        """See `Announces`."""
        self.stored.append(notice)


class ByHand:
    """Both lanes of fan-outs, without the bus."""

    def __init__(self, pool: Pool, limits: Limits = LIMITS) -> None:
        self.heard = Heard()
        self.fanouts = Fanouts(pool, self.heard, limits)
        self._outbox = Outbox(pool, source="notify")
        self._pool = pool

    async def announce(self, event: StreamStarted) -> None:
        await self._handle(self.fanouts.announce_live, event)

    async def begin(self, event: StreamStarted) -> None:
        await self._handle(self.fanouts.begin, event)

    async def announce_published(self, event: StreamUpdated) -> None:
        await self._handle(self.fanouts.announce_published_live, event)

    async def begin_published(self, event: StreamUpdated) -> None:
        await self._handle(self.fanouts.begin_published, event)

    async def end(self, event: StreamEnded) -> None:
        await self._handle(self.fanouts.end, event)

    async def announce_recording(self, event: RecordingPublished) -> None:
        await self._handle(self.fanouts.announce_recording_live, event)

    async def begin_recording(self, event: RecordingPublished) -> None:
        await self._handle(self.fanouts.begin_recording, event)

    async def tell(self, *pages: FanoutPagePlanned) -> None:
        for page in pages:
            await self._handle(self.fanouts.tell_page, page)

    async def tell_all(self, *, after: int = 0) -> int:
        """Tell pages, but for the first `after`, until no more are said; how many there were."""
        told = after
        while remaining := (await self.pages())[told:]:
            await self.tell(*remaining)
            told += len(remaining)
        return told - after

    async def pages(self) -> Sequence[FanoutPagePlanned]:
        """All pages that were said."""
        rows = await self._pool.fetch("SELECT data FROM outbox WHERE topic = 'fanout-pages.v1' ORDER BY id")
        return [FanoutPagePlanned.model_validate_json(row["data"]) for row in rows]

    async def stands(self, fanout_id: UUID) -> Fanout:
        fanout = await fanout_store.find_fanout(self._pool, fanout_id)
        assert fanout is not None
        return fanout

    async def _handle(self, handler: Callable[[Transaction, Envelope[E]], Awaitable[None]], event: E) -> None:
        async with self._outbox.transaction() as transaction:
            await handler(transaction, Envelope(uuid7(), "test", datetime.now(UTC), event))


def started_at(channel: Person, moment: datetime, *, category: str | None = None) -> StreamStarted:
    """The event that a channel went live at some time."""
    return StreamStarted(
        stream_id=uuid7(),
        channel_id=channel.user_id,
        channel_name=channel.name,
        title="chess",
        category=category,
        started_at=moment,
    )


def ids(count: int) -> list[UUID]:
    """People, far apart."""
    return [UUID(int=number * 1_000) for number in range(1, count + 1)]
