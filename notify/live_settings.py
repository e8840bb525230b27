"""What the live lane is told at its start."""

from pydantic import Field

from runtime.settings import ProcessSettings


class LiveSettings(ProcessSettings):
    """Settings of the live lane."""

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
        default=15.0,
        gt=0,
        le=300,
        description="Between the comments, or pings, that keep a quiet live connection open.",
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
    notify_live_origins: str = Field(
        default="",
        description="Origins besides the public one whose pages may open live sockets, separated by commas; * allows"
        " all.",
    )
    notify_live_hello_seconds_max: float = Field(
        default=10.0, gt=0, le=120, description="How long a new live socket may take to say whose it is."
    )
    notify_live_nameless_max: int = Field(
        default=1_000,
        ge=1,
        le=100_000,
        description="Live sockets of one process that have not said yet whose they are; more are asked to come later.",
    )
    notify_redis_prefix: str = Field(
        default="livestream", pattern=r"^[a-zA-Z0-9._:-]+$", description="Begins the names of the Redis channels."
    )
