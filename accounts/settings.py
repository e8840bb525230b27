"""What the accounts process can be told."""

import base64
import binascii

from pydantic import Field, SecretStr, field_validator

from eventbus.settings import BusSettings
from runtime.settings import HttpSettings, IssuerSettings, PostgresSettings, RedisSettings

KEY_SECRET_BYTES = 32


class SealingSettings(PostgresSettings):
    """What is needed to read or to replace what accounts has sealed in the database."""

    accounts_key_secret: SecretStr = Field(
        description="Seals the signing keys in the database: 32 random bytes in base64url (`openssl rand -base64 32`)."
    )
    accounts_key_lead_seconds: int = Field(
        default=900,
        ge=60,
        le=86_400,
        description="A new signing key is published so long before it signs: longer than anybody keeps the key set.",
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


class AccountsSettings(HttpSettings, RedisSettings, IssuerSettings, BusSettings, SealingSettings):
    """Settings of `python -m accounts`."""

    accounts_access_token_seconds: int = Field(
        default=600, ge=30, le=840, description="How long an access token is valid; it cannot be taken back earlier."
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
    accounts_key_rotation_days: int = Field(
        default=90, ge=0, le=3_650, description="Signing keys are replaced when they are so old; 0: only by command."
    )
    accounts_totp_issuer: str = Field(
        default="LiveStream",
        min_length=1,
        max_length=50,
        pattern=r"^[^:]*$",
        description="What authenticator apps show above the codes of an account here.",
    )
    accounts_name_rest_days: int = Field(
        default=90,
        ge=0,
        le=3_650,
        description="So long nobody else may take a username that was given up by a rename or a deletion.",
    )
    accounts_rename_days: int = Field(
        default=30, ge=0, le=3_650, description="A username can be changed again after so many days."
    )


def _decoded(secret: SecretStr) -> bytes:
    text = secret.get_secret_value().strip().rstrip("=").replace("+", "-").replace("/", "_")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
