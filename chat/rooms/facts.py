"""What a gateway knows of a room besides its messages; read from the tables whenever something about it changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict

from chat.rooms.entries import Said
from chat.speaking.rules import OPEN, Rules


class PollOption(BaseModel):
    """One answer of a poll and how many chose it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    votes: int


class PollView(BaseModel):
    """A poll as everybody sees it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    poll_id: UUID
    question: str
    options: tuple[PollOption, ...]
    started_at: AwareDatetime
    ends_at: AwareDatetime
    ended: bool


@dataclass(frozen=True, slots=True)
class BlockedTerm:
    """A term that may not be said, or only after a moderator has looked at it."""

    term: str
    hold: bool


@dataclass(frozen=True, slots=True)
class RoomFacts:
    """A room as its tables have it. ``version`` counts up with every change."""

    channel_id: UUID
    channel_name: str
    live_stream_id: UUID | None
    version: int = 0
    rules: Rules = OPEN
    pinned: Said | None = None
    poll: PollView | None = None
    emotes: Mapping[str, str] = field(default_factory=dict)
    """URL of the image by the emote's name."""
    blocked_terms: Sequence[BlockedTerm] = ()
