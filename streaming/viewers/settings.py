"""What streaming is told about viewers."""

from pydantic import Field

from runtime.settings import ProcessSettings


class ViewerSettings(ProcessSettings):
    """A process that counts viewers."""

    streaming_viewers_of_address_max: int = Field(
        default=50,
        ge=1,
        le=100_000,
        description="Viewers of one stream that one address (IPv6: one /64) may be; more behind it are not counted.",
    )
