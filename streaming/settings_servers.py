"""What the streaming process is told of its media servers."""

from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from runtime.settings import ProcessSettings
from streaming.servers.entries import read_servers


class MediaServerSettings(ProcessSettings):
    """The nginx-rtmp of the standard install, and further media servers."""

    streaming_ingest_secret: SecretStr = Field(
        min_length=16,
        description="Stands in the address of the media server's hooks: who knows it may say who streams.",
    )
    streaming_ingest_secret_second: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="Valid beside the first: for the time in which the media server's hooks get another secret.",
    )
    streaming_ingest_application: str = Field(
        default="live", min_length=1, description="The RTMP application that publishers publish to."
    )
    streaming_ingest_push_url: str = Field(
        description="Where the media server pushes an accepted stream; the stream's id is put behind it.",
        pattern=r"^rtmp://\S+$",
    )
    streaming_ingest_control_url: str = Field(
        description="nginx-rtmp's control address, which drops publishers.", pattern=r"^https?://\S+$"
    )
    streaming_ingest_stat_url: str = Field(
        description="nginx-rtmp's statistics address, which tells what is being published.", pattern=r"^https?://\S+$"
    )
    streaming_media_servers: Path | None = Field(
        default=None,
        description="A TOML file with further media servers (nginx-rtmp, SRS, MediaMTX, Ant Media): docs/ingest.md.",
    )
    streaming_media_server_seconds_max: float = Field(
        default=1.0, gt=0, le=30, description="How long a media server may take to answer, or to drop a publisher."
    )

    @field_validator("streaming_media_servers")
    @classmethod
    def _servers_are_understood(cls, path: Path | None) -> Path | None:
        if path is not None:
            read_servers(path)  # raises ValueError, which names servers and fields
        return path
