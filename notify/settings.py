"""What the notify process is told at its start."""

from eventbus.settings import BusSettings
from notify.deliveries.settings import DeliverySettings
from notify.fanout_settings import FanoutSettings
from notify.live_settings import LiveSettings
from notify.mail.settings import MailSettings
from notify.people_settings import PeopleSettings
from notify.webhooks.settings import WebhookSettings
from notify.webpush.settings import WebPushSettings
from runtime.settings import HttpSettings, PublicSettings, ReadSettings, RedisSettings, TokenSettings


class NotifySettings(
    LiveSettings,
    PeopleSettings,
    FanoutSettings,
    WebhookSettings,
    WebPushSettings,
    MailSettings,
    DeliverySettings,
    HttpSettings,
    RedisSettings,
    TokenSettings,
    ReadSettings,
    BusSettings,
    PublicSettings,
):
    """Settings of `python -m notify`."""
