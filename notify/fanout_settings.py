"""What fan-outs can be told."""

from pydantic import Field

from runtime.settings import ProcessSettings


class FanoutSettings(ProcessSettings):
    """Settings of how followers are told."""

    notify_page_followers_max: int = Field(
        default=1_000,
        ge=1,
        le=10_000,
        description="Followers in one page of a fan-out: one statement, one transaction.",
    )
    notify_window_pages_max: int = Field(
        default=24,
        ge=1,
        le=1_000,
        description="Pages of one fan-out that are outstanding at once; more are planned when half of them are done.",
    )
    notify_pages_at_once_max: int = Field(
        default=2,
        ge=1,
        le=50,
        description="Pages that one process tells at once; of all processes together: fewer than Postgres has cores.",
    )
    notify_cool_down_seconds: int = Field(
        default=600,
        ge=0,
        le=86_400,
        description="A stream that starts so soon after another of its channel tells nobody.",
    )
    notify_fanouts_per_day_max: int = Field(
        default=3, ge=1, le=1_000, description="Streams of one channel within 24 hours that tell its followers."
    )
    notify_push_queued_seconds_max: int = Field(
        default=14_400,
        ge=60,
        le=604_800,
        description="A push of a fan-out that was not sent by then is dropped.",
    )
    notify_email_queued_seconds_max: int = Field(
        default=43_200,
        ge=60,
        le=604_800,
        description="A mail of a fan-out that was not sent by then is dropped.",
    )
