"""What the streaming process is told at its start."""

from pydantic import Field

from eventbus.settings import BusSettings
from runtime.settings import HttpSettings, ReadSettings, RedisSettings, TokenSettings
from streaming.retention.settings import StreamRetentionSettings
from streaming.settings_playback import PlaybackSettings
from streaming.settings_servers import MediaServerSettings
from streaming.viewers.settings import ViewerSettings


class StreamingSettings(
    HttpSettings,
    RedisSettings,
    TokenSettings,
    ReadSettings,
    BusSettings,
    StreamRetentionSettings,
    ViewerSettings,
    MediaServerSettings,
    PlaybackSettings,
):
    """Settings of `python -m streaming`."""

    streaming_public_ingest_url: str = Field(
        description="The address that streamers enter in their encoder, beside the stream key.",
        pattern=r"^rtmps?://\S+$",
    )
    streaming_grace_seconds: float = Field(
        default=30.0, ge=0, le=3_600, description="How long an interrupted stream waits for its publisher."
    )
    streaming_silence_seconds: float = Field(
        # With a pass of the reaper a media server that has died is noticed within 15 s. Signs of life come every 5 s by
        # hooks and every 4 s by answers; one that is lost and one that is slow make nobody silent.
        default=13.0,
        ge=2,
        le=3_600,
        description="A publisher that nothing was heard of for so long is gone; well above notify_update_timeout.",
    )
    streaming_absence_seconds: float = Field(
        default=7.0,
        ge=2,
        le=3_600,
        description="A publisher whom the media server was without for so long is gone; above notify_update_timeout.",
    )
    streaming_hook_seconds_max: float = Field(
        default=5.0, gt=0, le=60, description="A hook that takes longer is given up: the publisher tries again."
    )
    streaming_live_list_seconds: float = Field(
        default=10.0, gt=0, le=30, description="How long the list of live streams may be out of date."
    )
