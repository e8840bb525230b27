"""What streamers send to prepare a stream, to change one, and to kick a publisher."""

from collections.abc import Mapping
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from events import Visibility
from streaming.streams.words import Category, Language, Reason, ScheduledAt, Tags, Title

BAN_SECONDS_MIN: Final = 60
BAN_SECONDS_MAX: Final = 1_209_600
INVITATION_MINUTES_MAX: Final = 10_080
INVITATION_CHARACTERS_MAX: Final = 100


def _without_default(schema: dict[str, JsonValue]) -> None:
    # What stands for "left out" may not be sent, so a document that names it as the default is not valid.
    schema.pop("default", None)


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Preparation(_Body):
    """A stream that is to come. What is left out is as the channel says."""

    title: Title
    category: Category | None = Field(default=None, description="What it is about. Null: nothing in particular.")
    tags: Tags = ()
    language: Language | None = None
    visibility: Visibility = Visibility.PUBLIC
    scheduled_at: ScheduledAt | None = Field(
        default=None, description="When it is to begin, at most a year ahead. Null or left out: with the next publish."
    )

    def over(self, channel: Mapping[str, Any]) -> dict[str, Any]:
        """The columns of a prepared stream of this channel."""
        said = {name: getattr(self, name) for name in self.model_fields_set}
        return {name: said.get(name, channel[name]) for name in _SAID} | {"scheduled_at": self.scheduled_at}


class StreamChange(_Body):
    """What is to be different; what is left out stays."""

    title: Title = Field(default="", json_schema_extra=_without_default)
    category: Category | None = None
    tags: Tags = ()
    language: Language | None = None
    visibility: Visibility = Visibility.PUBLIC
    scheduled_at: ScheduledAt | None = Field(default=None, description="Only of one that has not begun.")

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("say what is to be different")
        return self

    def over(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The columns of the row with the changes in them; `scheduled_at` where the row has one."""
        said = {name: getattr(self, name) for name in self.model_fields_set}
        columns = (*_SAID, "scheduled_at") if "scheduled_at" in row else _SAID
        return {name: said.get(name, row[name]) for name in columns}


class Kick(_Body):
    """For how long a publisher is refused, and why."""

    seconds: int | None = Field(
        ge=BAN_SECONDS_MIN,
        le=BAN_SECONDS_MAX,
        strict=True,
        description="How long the channel may not stream. Null: until the ban is lifted.",
    )
    reason: Reason | None = Field(default=None, description="For the streamer to read.")


class InvitationRequest(_Body):
    """For how long an invitation lets people in."""

    minutes: int = Field(default=240, ge=1, le=INVITATION_MINUTES_MAX, strict=True)


class PlaybackRequest(_Body):
    """What lets one in, if not one's own account."""

    invitation: str | None = Field(
        default=None, max_length=INVITATION_CHARACTERS_MAX, description="As `POST …/invitations` answered it."
    )


_SAID: Final = ("title", "category", "tags", "language", "visibility")
