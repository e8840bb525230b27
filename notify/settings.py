"""What the notify process is told at its start."""

from pydantic import Field

from eventbus.settings import BusSettings
from notify.deliveries.settings import DeliverySettings
from notify.fanout_settings import FanoutSettings
from notify.mail.settings import MailSettings
from notify.people_settings import PeopleSettings
from notify.webhooks.settings import WebhookSettings
from notify.webpush.settings import WebPushSettings
from runtime.settings import HttpSettings, PublicSettings, RedisSettings, TokenSettings


class NotifySettings(
    PeopleSettings,
    FanoutSettings,
    WebhookSettings,
    WebPushSettings,
    MailSettings,
    DeliverySettings,
    HttpSettings,
    RedisSettings,
    TokenSettings,
    BusSettings,
    PublicSettings,
):
    """Settings of `python -m notify`."""

    notify_live_connections_max: int = Field(
        default=10_000, ge=1, description="Open live connections of one process; more are asked to come back later."
    )
    notify_live_connections_per_user_max: int = Field(
        default=10, ge=1, le=100, description="Open live connections of one person at one process."
    )
    notify_live_connection_seconds_max: float = Field(
        default=3_600.0,
        gt=0,
        description="A live connection is ended after this; the client comes back with a fresh token.",
    )
    notify_live_queue_notices_max: int = Field(
        default=256,
        ge=1,
        le=10_000,
        description="Notices that wait for one client; one that falls further behind is cut.",
    )
    notify_live_send_seconds_max: float = Field(
        default=10.0, gt=0, le=120, description="A client that takes no byte for so long is cut."
    )
    notify_live_heartbeat_seconds: float = Field(
        default=15.0, gt=0, le=300, description="Between the comments that keep a quiet live connection open."
    )
    notify_live_replay_notices_max: int = Field(
        default=100,
        ge=1,
        le=1_000,
        description="Missed notices that a returning client is sent; older ones are in its inbox.",
    )
    notify_live_silence_seconds_max: float = Field(
        default=5.0, gt=0, le=60, description="Redis is taken for lost when it does not even answer a ping for so long."
    )
    notify_live_publish_seconds_max: float = Field(
        default=0.5,
        gt=0,
        le=10,
        description="How long telling Redis of a notice may take; later it is said again.",
    )
    notify_redis_prefix: str = Field(
        default="livestream", pattern=r"^[a-zA-Z0-9._:-]+$", description="Begins the names of the Redis channels."
    )
