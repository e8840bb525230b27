"""Settings of who may play what."""

import re
from typing import Final

from pydantic import Field, SecretStr, field_validator

from runtime.settings import ProcessSettings

# It becomes a word of nginx's configuration.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


class PlaybackSettings(ProcessSettings):
    """How private streams are opened."""

    streaming_playback_secret: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="Signs the addresses of private streams; the edge has the same. Letters, digits, _ and - only. "
        "Without it private streams cannot be watched.",
    )
    streaming_playback_seconds: float = Field(
        default=600.0,
        ge=30,
        le=43_200,
        description="How long an address of a private stream opens; pages renew it.",
    )

    @field_validator("streaming_playback_secret")
    @classmethod
    def _plain(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and _PLAIN.fullmatch(secret.get_secret_value()) is None:
            raise ValueError("only letters, digits, _ and - are taken, since nginx is told it too")
        return secret
