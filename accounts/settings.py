"""What the accounts process can be told."""

import base64
import binascii

from pydantic import Field, SecretStr, field_validator

from eventbus.settings import BusSettings
from runtime.settings import HttpSettings, IssuerSettings, RedisSettings

KEY_SECRET_BYTES = 32


class AccountsSettings(HttpSettings, RedisSettings, IssuerSettings, BusSettings):
    """Settings of `python -m accounts`."""

    accounts_key_secret: SecretStr = Field(
        description="Seals the signing keys in the database: 32 random bytes in base64url (`openssl rand -base64 32`)."
    )
    accounts_access_token_seconds: int = Field(
        default=600, ge=30, le=3600, description="How long an access token is valid; it cannot be taken back earlier."
    )
    accounts_session_idle_days: int = Field(
        default=30, ge=1, le=365, description="A login ends when it was not refreshed for so long."
    )
    accounts_password_workers: int = Field(
        default=2, ge=1, le=16, description="Passwords hashed at once; each takes a core and 19 MiB."
    )
    accounts_password_queue_max: int = Field(
        default=64, ge=1, le=10_000, description="Passwords that may wait to be hashed; beyond it logins get 503."
    )

    @field_validator("accounts_key_secret")
    @classmethod
    def _is_a_key(cls, secret: SecretStr) -> SecretStr:
        if len(_decoded(secret)) != KEY_SECRET_BYTES:
            raise ValueError(f"must be {KEY_SECRET_BYTES} bytes in base64url")
        return secret

    def key_secret(self) -> bytes:
        """The 32 bytes."""
        return _decoded(self.accounts_key_secret)


def _decoded(secret: SecretStr) -> bytes:
    text = secret.get_secret_value().strip().rstrip("=").replace("+", "-").replace("/", "_")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
