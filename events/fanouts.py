"""What happens to fan-outs: the work of telling a channel's followers, cut into pages."""

from typing import ClassVar
from uuid import UUID

from pydantic import AwareDatetime, PositiveInt

from events.envelope import Event


class FanoutPagePlanned(Event):
    """A page of followers is to be told that a stream started: those in ``(after_follower_id, last_follower_id]``.

    Pages of one fan-out are independent, so the key spreads them over the partitions and any number of workers share
    them.
    """

    type: ClassVar[str] = "fanout-page.planned"

    stream_id: UUID
    channel_id: UUID
    channel_name: str
    title: str
    started_at: AwareDatetime
    page_number: PositiveInt
    after_follower_id: UUID | None
    """None for the first page: from the beginning."""
    last_follower_id: UUID

    @property
    def key(self) -> str:
        return f"{self.stream_id}/{self.page_number}"
