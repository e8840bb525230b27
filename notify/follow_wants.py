"""What a follower wants to hear of a channel, as far as the live lane must know it."""

from pydantic import BaseModel, ConfigDict

from notify.notices import Notice


class FollowWants(BaseModel):
    """Of somebody who is told of a channel at all: which of its notices."""

    model_config = ConfigDict(frozen=True)

    recordings: bool = False
    """Whether also of recordings."""
    categories: tuple[str, ...] | None = None
    """Only of streams in one of these; None: of all."""

    def include(self, notice: Notice) -> bool:
        """Whether a notice is wanted; says the same as the page that writes the inboxes."""
        if notice.kind == "recording.published" and not self.recordings:
            return False
        return self.categories is None or notice.category in self.categories
