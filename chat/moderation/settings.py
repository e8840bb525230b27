"""What chat is told at its start about moderation: how long things wait, and how long records are kept."""

from pydantic import Field

from runtime.settings import ProcessSettings


class ModerationSettings(ProcessSettings):
    """Part of the settings of `python -m chat`."""

    chat_held_seconds: float = Field(
        default=3_600.0, ge=60, le=86_400, description="How long a held message waits for a moderator, then it is gone."
    )
    chat_audit_months: int = Field(
        default=12, ge=1, le=120, description="Whole months for which the record of what moderators did is kept."
    )
