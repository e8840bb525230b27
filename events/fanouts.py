"""What happens to fan-outs: the work of telling a channel's followers, cut into pages."""

from typing import ClassVar, Literal
from uuid import UUID

from pydantic import AwareDatetime, PositiveInt

from events.envelope import Event


class FanoutPagePlanned(Event):
    """A page of followers is to be told something of a stream: those in ``(after_follower_id, last_follower_id]``.

    Pages of one fan-out are independent, so the key spreads them over the partitions and any number of workers share
    them.
    """

    type: ClassVar[str] = "fanout-page.planned"

    notice_id: UUID | None = None
    """What is told, which is also the fan-out's id; None, in pages of before: the stream's id."""
    kind: Literal["stream.started", "recording.published"] = "stream.started"
    stream_id: UUID
    channel_id: UUID
    channel_name: str
    title: str
    category: str | None = None
    started_at: AwareDatetime
    """When that happened which is told."""
    page_number: PositiveInt
    after_follower_id: UUID | None
    """None for the first page: from the beginning."""
    last_follower_id: UUID

    @property
    def fanout_id(self) -> UUID:
        """The fan-out that the page is of."""
        return self.notice_id or self.stream_id

    @property
    def key(self) -> str:
        return f"{self.fanout_id}/{self.page_number}"
