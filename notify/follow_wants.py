"""What a follower wants to hear of a channel, as far as the live lane must know it."""

from collections.abc import Sequence
from functools import lru_cache

from pydantic import BaseModel, ConfigDict

from notify.notices import Notice

KINDS_OF_WANTS_MAX = 1_000


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


def wants_of(*, recordings: bool, categories: Sequence[str] | None) -> FollowWants:
    """What these values mean; the same object for the same values, since most of thousands of follows want the same."""
    return _wants(recordings, None if categories is None else tuple(categories))


@lru_cache(KINDS_OF_WANTS_MAX)
def _wants(recordings: bool, categories: tuple[str, ...] | None) -> FollowWants:
    return FollowWants(recordings=recordings, categories=categories)
