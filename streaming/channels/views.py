"""What people say of a channel and are told of one."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from events import Visibility
from streaming.channels.bans import BanView
from streaming.streams.words import Category, Description, Language, Tags, Title

_SAID: Final = ("title", "category", "description", "tags", "language", "visibility")


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class ChannelPath(_View):
    """Which channel: the id of its streamer."""

    channel_id: UUID


class _Profile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    category: Category | None = Field(
        default=None, description="What the next stream is about: followers may choose by it. Null: nothing."
    )
    description: Description | None = Field(default=None, description="What the channel is.")
    tags: Tags = Field(default=(), description="Of the next stream.")
    language: Language | None = Field(default=None, description="The BCP 47 tag of what the next stream is spoken in.")
    visibility: Visibility = Field(default=Visibility.PUBLIC, description="Who knows of the next stream.")

    def over(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The columns of the channel with what was said in them."""
        return {name: getattr(self, name) if name in self.model_fields_set else row[name] for name in _SAID}


class ChannelChange(_Profile):
    """What a channel says of itself and of its next stream; but for the category, what is left out stays."""

    title: Title = Field(description="The title of the next stream.")

    def over(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The columns of the channel with what was said in them."""
        return {**super().over(row), "category": self.category}


class ChannelPatch(_Profile):
    """What is to be different; what is left out stays."""

    title: Title | None = Field(default=None, description="The title of the next stream. Null: made from the name.")

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("say what is to be different")
        return self


class ChannelView(_View):
    """A channel. What its next stream gets is told to others only if that will be public."""

    channel_id: UUID
    name: str
    title: str = Field(description="The title that the next stream gets.")
    category: str | None = Field(description="The category that the next stream gets, if one is set.")
    description: str | None
    tags: tuple[str, ...]
    language: str | None
    stream_id: UUID | None = Field(description="The stream that is on, if one is that everybody may know of.")
    created_at: datetime


class OwnChannelView(ChannelView):
    """A channel as its streamer sees it."""

    visibility: Visibility = Field(description="Who knows of the next stream.")
    stream_key_made_at: datetime | None = Field(description="When the stream key was made; null: there is none.")
    ban: BanView | None = Field(description="Why it may not stream at present.")


class StreamKeyView(_View):
    """A stream key, shown this once."""

    stream_key: str = Field(description="Enter it in the encoder as stream key; it cannot be shown again.")
    ingest_url: str = Field(description="Enter it in the encoder as server.")


def channel_view(row: Mapping[str, Any]) -> ChannelView:
    """What everybody is told by a row of `view_channel`: of a stream that is hidden, or will be, nothing."""
    public = row["open_visibility"] == Visibility.PUBLIC
    unsaid = {} if row["visibility"] == Visibility.PUBLIC else _nothing_said(row["name"])
    return ChannelView(**{**row, **unsaid, "stream_id": row["open_stream_id"] if public else None})


def own_channel_view(row: Mapping[str, Any], ban: BanView | None) -> OwnChannelView:
    """What the streamer is told by a row of `view_channel`."""
    return OwnChannelView(**{**row, "stream_id": row["open_stream_id"], "ban": ban})


def _nothing_said(name: str) -> dict[str, Any]:
    """The next stream of a channel that says nothing of it; the title is as `channels.next_title` makes it then."""
    return {"title": f"{name} is live", "category": None, "tags": (), "language": None}
