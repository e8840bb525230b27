"""What webhooks are told at the start of the process."""

import base64
import binascii

from pydantic import Field, SecretStr, field_validator

from runtime.settings import ProcessSettings

SEALING_SECRET_BYTES = 32


class WebhookSettings(ProcessSettings):
    """The settings of webhooks; without the sealing secret there are none."""

    notify_sealing_secret: SecretStr | None = Field(
        default=None,
        description="Seals the URLs and secrets of webhooks in the database: 32 random bytes in base64url"
        " (`openssl rand -base64 32`). Without it there are no webhooks.",
    )
    notify_webhooks_per_user_max: int = Field(
        default=10, ge=1, le=100, description="Webhook endpoints that one person may have."
    )
    notify_webhook_sends_max: int = Field(
        default=256, ge=1, le=1_000, description="Webhooks that one process posts at once."
    )
    notify_webhook_sends_per_host_max: int = Field(
        default=16, ge=1, le=1_000, description="Of these, webhooks to one host: one that hangs leaves room for others."
    )
    notify_webhook_log_days: int = Field(
        default=30, ge=3, le=365, description="How long the log of webhooks is kept: messages and their attempts."
    )
    notify_webhook_disable_after_hours: float = Field(
        default=120.0,
        gt=0,
        le=8_760,
        description="An endpoint whose every attempt has failed for so long is disabled until its owner enables it.",
    )

    @field_validator("notify_sealing_secret")
    @classmethod
    def _seals(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and len(_decoded(secret)) != SEALING_SECRET_BYTES:
            raise ValueError(f"must be {SEALING_SECRET_BYTES} bytes in base64url")
        return secret

    def sealing_secret(self) -> bytes | None:
        """The 32 bytes; None: there are no webhooks."""
        return None if self.notify_sealing_secret is None else _decoded(self.notify_sealing_secret)


def _decoded(secret: SecretStr) -> bytes:
    text = secret.get_secret_value().strip().rstrip("=").replace("+", "-").replace("/", "_")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
