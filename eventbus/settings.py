"""Where the bus is and what its topics are called there."""

from pydantic import Field

from runtime.settings import ProcessSettings


class KafkaSettings(ProcessSettings):
    """How to reach Kafka."""

    kafka_bootstrap_servers: str = Field(description="Kafka brokers to ask first, as host:port, separated by commas.")
    kafka_topic_prefix: str = Field(
        default="",
        max_length=100,
        pattern=r"^[a-zA-Z0-9._-]*$",
        description="Put before every topic and group name, so that several installations can share a cluster.",
    )
    kafka_session_timeout_seconds: float = Field(
        default=10.0,
        ge=6,
        le=60,
        description="A consumer that is silent for so long is taken for dead, and its partitions go to others.",
    )
