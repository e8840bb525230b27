"""How long rooms keep what was said."""

from pydantic import Field

from chat.speaking.rules import LOG_DAYS_MAX
from runtime.settings import ProcessSettings


class LogSettings(ProcessSettings):
    """The log's."""

    chat_log_days: int = Field(
        default=365, ge=1, le=LOG_DAYS_MAX, description="How long rooms keep messages that say nothing else themselves."
    )
