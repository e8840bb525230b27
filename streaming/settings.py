"""What the streaming process is told at its start."""

from pydantic import Field, SecretStr

from eventbus.settings import BusSettings
from runtime.settings import HttpSettings, ReadSettings, RedisSettings, TokenSettings
from streaming.retention.settings import StreamRetentionSettings


class StreamingSettings(HttpSettings, RedisSettings, TokenSettings, ReadSettings, BusSettings, StreamRetentionSettings):
    """Settings of `python -m streaming`."""

    streaming_ingest_secret: SecretStr = Field(
        min_length=16,
        description="Stands in the address of the media server's hooks: who knows it may say who streams.",
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
    streaming_public_ingest_url: str = Field(
        description="The address that streamers enter in their encoder, beside the stream key.",
        pattern=r"^rtmps?://\S+$",
    )
    streaming_grace_seconds: float = Field(
        default=30.0, ge=0, le=3_600, description="How long an interrupted stream waits for its publisher."
    )
    streaming_silence_seconds: float = Field(
        default=20.0,
        ge=2,
        le=3_600,
        description="A publisher that nothing was heard of for so long is gone; well above notify_update_timeout.",
    )
    streaming_hook_seconds_max: float = Field(
        default=5.0, gt=0, le=60, description="A hook that takes longer is given up: the publisher tries again."
    )
    streaming_media_server_seconds_max: float = Field(
        default=1.0, gt=0, le=30, description="How long the media server may take to drop a publisher."
    )
    streaming_live_list_seconds: float = Field(
        default=10.0, gt=0, le=30, description="How long the list of live streams may be out of date."
    )
