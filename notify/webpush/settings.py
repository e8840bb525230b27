"""What Web Push can be told."""

import re

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from pydantic import Field, SecretStr, field_validator

from notify.webpush.keys import private_key
from runtime.settings import ProcessSettings

# RFC 8292, section 2.1: a mailto: or an https: URI.
SUBJECT = re.compile(r"mailto:[^@\s]+@[^@\s]+|https://[^/\s]+\S*")


class WebPushSettings(ProcessSettings):
    """Settings of Web Push; without a key it is off."""

    notify_vapid_private_key: SecretStr | None = Field(
        default=None,
        description="Signs what is sent to browsers by Web Push (VAPID): the private scalar of a P-256 key, 32 bytes "
        "in base64url. Without it Web Push is off; with another one every browser has to subscribe again.",
    )
    notify_vapid_subject: str | None = Field(
        default=None,
        max_length=200,
        description="Whom push services can write to about this installation: mailto:somebody@example.org or an https: "
        "address. Without it: LIVESTREAM_PUBLIC_URL, where that is https.",
    )
    notify_push_subscriptions_per_user_max: int = Field(
        default=20, ge=1, le=100, description="Browsers that one person may have told by Web Push."
    )
    notify_push_ttl_seconds: int = Field(
        default=3_600,
        ge=0,
        le=2_419_200,
        description="How long a push service may keep a notice for a browser that is away.",
    )
    notify_push_send_seconds_max: float = Field(
        default=10.0, gt=0, le=60, description="How long a push service may take to answer."
    )
    notify_push_retry_after_seconds: float = Field(
        default=60.0,
        gt=0,
        le=3_600,
        description="How long a push service is left alone when it asks for that (429) and does not say how long.",
    )

    @field_validator("notify_vapid_private_key", "notify_vapid_subject", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return None if str(value) == "" else value

    @field_validator("notify_vapid_private_key")
    @classmethod
    def _is_a_vapid_key(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None:
            private_key(secret.get_secret_value())
        return secret

    @field_validator("notify_vapid_subject")
    @classmethod
    def _is_a_contact(cls, subject: str | None) -> str | None:
        if subject is not None and not SUBJECT.fullmatch(subject):
            raise ValueError("must be mailto:somebody@example.org or an https: address")
        return subject

    def vapid_key(self) -> EllipticCurvePrivateKey | None:
        """The key; None: Web Push is off."""
        secret = self.notify_vapid_private_key
        return None if secret is None else private_key(secret.get_secret_value())
