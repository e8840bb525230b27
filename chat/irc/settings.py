"""What the IRC door is told at the start of the process."""

from pathlib import Path

from pydantic import Field

from runtime.settings import ProcessSettings


class IrcSettings(ProcessSettings):
    """The settings of IRC. Over WebSocket it is always there; over TCP only where a port is given."""

    chat_irc_port: int | None = Field(
        default=None, ge=1, le=65_535, description="TCP port of IRC; without it IRC is spoken over WebSocket alone."
    )
    chat_irc_host: str = Field(default="127.0.0.1", description="Address of the TCP port of IRC.")
    chat_irc_tls_certificate: Path | None = Field(
        default=None,
        description="Certificate chain (PEM) for IRC over TCP; without it put TLS in front: passwords travel here.",
    )
    chat_irc_tls_key: Path | None = Field(default=None, description="Private key (PEM) of the certificate for IRC.")
    chat_irc_lines_per_second_max: float = Field(
        default=20.0, ge=1, le=10_000, description="IRC lines of one client; four seconds' worth may come at once."
    )
