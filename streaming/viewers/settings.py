"""What streaming is told about viewers."""

from pydantic import Field, SecretStr

from runtime.settings import ProcessSettings


class ViewerSettings(ProcessSettings):
    """A process that counts viewers."""

    streaming_viewer_secret: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="Signs what viewers' players carry between heartbeats; without it a key made of the ingest secret "
        "does, and another ingest secret makes every viewer a new one.",
    )
    streaming_viewer_secret_second: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="Valid beside the first: for the hours in which players still carry what it has signed.",
    )
    streaming_viewers_of_address_max: int = Field(
        default=50,
        ge=1,
        le=100_000,
        description="Viewers of one stream that one address (IPv6: one /64) may be; more behind it are not counted.",
    )
