"""What happens to follows. Both facts share the channel as key, so that they keep their order."""

from typing import ClassVar
from uuid import UUID

from pydantic import AwareDatetime

from events.envelope import Event


class FollowCreated(Event):
    """Somebody follows a channel now."""

    type: ClassVar[str] = "follow.created"

    channel_id: UUID
    follower_id: UUID
    follower_name: str
    followed_at: AwareDatetime

    @property
    def key(self) -> str:
        return str(self.channel_id)

    @property
    def subject(self) -> str:
        return str(self.follower_id)


class FollowDeleted(Event):
    """Somebody no longer follows a channel: they left, or the channel has blocked them."""

    type: ClassVar[str] = "follow.deleted"

    channel_id: UUID
    follower_id: UUID
    deleted_at: AwareDatetime

    @property
    def key(self) -> str:
        return str(self.channel_id)

    @property
    def subject(self) -> str:
        return str(self.follower_id)
