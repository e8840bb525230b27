"""What a room allows: the streamer's and moderators' settings of one room, stored as one JSON object."""

import json
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

SLOW_SECONDS_MAX = 600
FOLLOW_MINUTES_MAX = 129_600  # 90 days
ACCOUNT_AGE_MINUTES_MAX = 525_600
DELAY_SECONDS_MAX = 10
MESSAGE_CHARACTERS_MAX = 500
MESSAGES_PER_MINUTE_MAX = 600
LOG_DAYS_MAX = 3_650


class Rules(BaseModel):
    """The rules of a room. The owner and moderators are bound by none of them."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    slow_seconds: Annotated[int, Field(ge=0, le=SLOW_SECONDS_MAX)] = Field(
        default=0, description="Slow mode: seconds between two messages of one person; 0 is off."
    )
    followers_only_minutes: Annotated[int, Field(ge=0, le=FOLLOW_MINUTES_MAX)] | None = Field(
        default=None, description="Followers only: how long one must have followed; 0 is any follower, null is off."
    )
    subscribers_only: bool = Field(default=False, description="Only subscribers (and moderators) write.")
    moderators_only: bool = Field(default=False, description="Only moderators write.")
    unique_messages: bool = Field(
        default=False, description="A text that was said in the last 10 minutes is not said again."
    )
    emote_only: bool = Field(default=False, description="Messages consist of the channel's emotes.")
    links: bool = Field(default=True, description="Whether viewers may post links.")
    message_characters_max: Annotated[int, Field(ge=1, le=MESSAGE_CHARACTERS_MAX)] = Field(
        default=MESSAGE_CHARACTERS_MAX, description="Characters of one message."
    )
    delay_seconds: Annotated[int, Field(ge=0, le=DELAY_SECONDS_MAX)] = Field(
        default=0, description="Moderators see messages this long before everybody else."
    )
    account_age_minutes: Annotated[int, Field(ge=0, le=ACCOUNT_AGE_MINUTES_MAX)] = Field(
        default=0, description="How old an account must be to write; 0 is off."
    )
    messages_per_minute: Annotated[int, Field(ge=1, le=MESSAGES_PER_MINUTE_MAX)] | None = Field(
        default=None, description="Messages of one person in any 60 seconds; null is the installation's."
    )
    announce_follows: bool = Field(default=True, description="The room says who follows the channel now.")
    permanent_log: bool = Field(
        default=True, description="Messages are kept for history, search and the replay beside recordings."
    )
    log_days: Annotated[int, Field(ge=1, le=LOG_DAYS_MAX)] | None = Field(
        default=None, description="For how many days; null is the installation's."
    )


OPEN = Rules()
"""What a room allows before anybody has said anything else."""


def read_rules(text: str) -> Rules:
    """Rules as they are stored; one that only a newer version knows is passed over, as while gateways are replaced."""
    stored = json.loads(text)
    return Rules.model_validate_json(json.dumps({name: stored[name] for name in stored.keys() & Rules.model_fields}))
