"""The settings of a chat gateway."""

from pydantic import Field

from chat.emotes.settings import EmoteSettings
from chat.irc.settings import IrcSettings
from chat.log.settings import LogSettings
from chat.moderation.settings import ModerationSettings
from eventbus.settings import BusSettings
from runtime.settings import HttpSettings, PublicSettings, RedisSettings, TokenSettings


class ChatSettings(
    ModerationSettings,
    IrcSettings,
    EmoteSettings,
    LogSettings,
    HttpSettings,
    RedisSettings,
    TokenSettings,
    BusSettings,
    PublicSettings,
):
    """What a gateway needs, and its limits."""

    chat_origins: str = Field(
        default="",
        description="Origins besides the public one whose pages may connect, separated by commas; * allows all.",
    )
    chat_connections_max: int = Field(default=12_000, ge=1, le=200_000, description="Connections of one gateway.")
    chat_connections_per_address_max: int = Field(
        default=1_000,
        ge=1,
        le=200_000,
        description="Connections from one address (IPv6: from one /64) to one gateway.",
    )
    chat_connections_per_user_max: int = Field(
        default=20, ge=1, le=200_000, description="Connections of one account to one gateway."
    )
    chat_frames_per_second_max: float = Field(
        default=20.0,
        ge=1,
        le=10_000,
        description="WebSocket frames of one client, pings included; four seconds' worth may come at once. "
        "Who is allowed more messages than that may send twice as many frames as messages.",
    )
    chat_join_timeout_seconds: float = Field(
        default=15.0, gt=0, le=120, description="How long a new connection may take until it has joined a room."
    )
    chat_ping_seconds: float = Field(
        default=25.0, ge=1, le=120, description="How often a silent client is pinged; half of it is the time to answer."
    )
    chat_messages_per_minute: int = Field(
        default=10, ge=1, le=6_000, description="Messages of one user in one room in any 60 seconds."
    )
    chat_tick_seconds: float = Field(
        default=0.1, ge=0.005, le=1, description="The shortest time between two batches to a busy room."
    )
    chat_backlog_bytes_max: int = Field(
        default=262_144, ge=16_384, le=16_777_216, description="Unsent bytes of one client; beyond, it is cut."
    )
    chat_send_buffer_bytes: int = Field(
        default=65_536, ge=4_608, le=4_194_304, description="What the kernel may hold for one client (SO_SNDBUF)."
    )
    chat_drain_notice_seconds: float = Field(
        default=0.5,
        ge=0,
        le=60,
        description="At the end `/readyz` says so for this long before anybody is asked to leave, so that whatever "
        "sends new clients stops doing it.",
    )
    chat_drain_seconds: float = Field(
        default=3.0, ge=0, le=60, description="At the end clients are told to reconnect, spread over this time."
    )
    chat_history_seconds: float = Field(
        default=300.0, ge=1, le=86_400, description="How long Redis keeps a message for history and recovery."
    )
