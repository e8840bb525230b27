"""What is told about sending mail: by which server, as whom, and how much."""

from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from notify.mail.addresses import InvalidAddress, parse_sender
from runtime.settings import ProcessSettings

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class MailSettings(ProcessSettings):
    """Mail is sent when there is a server for it; else nothing is, and its endpoints say so."""

    notify_smtp_host: str | None = Field(
        default=None,
        min_length=1,
        max_length=253,
        pattern=r"^[^\s/]+$",
        description="The SMTP server that takes our mail; without one, no mail is sent.",
    )
    notify_smtp_port: int = Field(
        default=587, ge=1, le=65_535, description="Its port: 587 with starttls, 465 with tls, 25 without either."
    )
    notify_smtp_tls: Literal["starttls", "tls", "none"] = Field(
        default="starttls",
        description="How the connection is encrypted; its certificate is checked. none: only on the same machine.",
    )
    notify_smtp_username: str | None = Field(
        default=None, min_length=1, description="Who we are to the SMTP server; without it we do not log in."
    )
    notify_smtp_password: SecretStr | None = Field(default=None, description="The password to that name.")
    notify_smtp_from: str | None = Field(
        default=None,
        max_length=320,
        description="The sender of our mail: an address, or `Name <address>`. Needed when there is a server.",
    )
    notify_smtp_connections_max: int = Field(
        default=4, ge=1, le=64, description="Connections for notices to the SMTP server at once, of one process."
    )
    notify_smtp_connection_messages_max: int = Field(
        default=100, ge=1, le=10_000, description="Mails sent over one connection; then a new one is made."
    )
    notify_smtp_seconds_max: float = Field(
        default=10.0, gt=0, le=60, description="How long the SMTP server may take for one answer."
    )
    notify_mail_requests_per_hour_max: int = Field(
        default=3,
        ge=1,
        le=100,
        description="Mails to verify an address that one person may ask for in an hour, and that go to one address.",
    )
    notify_mail_bounces_max: int = Field(
        default=3,
        ge=1,
        le=100,
        description="A mailbox that does not exist, as the server says so often in a row, is not used any more.",
    )

    @model_validator(mode="after")
    def _mail_is_whole(self) -> Self:
        if self.notify_smtp_host is None:
            return self
        if self.notify_smtp_from is None:
            raise ValueError("LIVESTREAM_NOTIFY_SMTP_FROM is needed with LIVESTREAM_NOTIFY_SMTP_HOST")
        try:
            parse_sender(self.notify_smtp_from)
        except InvalidAddress as error:
            raise ValueError(f"LIVESTREAM_NOTIFY_SMTP_FROM: {error}") from error
        if (self.notify_smtp_username is None) != (self.notify_smtp_password is None):
            raise ValueError("LIVESTREAM_NOTIFY_SMTP_USERNAME and _PASSWORD go together")
        if self.notify_smtp_username and self.notify_smtp_tls == "none" and self.notify_smtp_host not in LOOPBACK:
            raise ValueError("LIVESTREAM_NOTIFY_SMTP_PASSWORD would be readable on the way: set starttls or tls")
        return self
