"""Which bus a process uses, where it is, and what its topics are called there."""

from typing import Literal, Self

from pydantic import Field, model_validator

from runtime.settings import PostgresSettings, ProcessSettings


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


class BusChoice(ProcessSettings):
    """Which bus there is; what it needs is in the settings of the bus."""

    bus_backend: Literal["kafka", "postgres"] = Field(
        default="kafka", description="What carries the events: Kafka, or the Postgres that the services use anyway."
    )


class BusSettings(BusChoice, PostgresSettings, KafkaSettings):
    """A process on the bus. On Postgres, the bus is in the database of the services."""

    kafka_bootstrap_servers: str = Field(
        default="",
        description="Kafka brokers to ask first, as host:port, separated by commas; needed for the bus kafka.",
    )

    @model_validator(mode="after")
    def _kafka_is_named(self) -> Self:
        if self.bus_backend == "kafka" and not self.kafka_bootstrap_servers:
            raise ValueError("LIVESTREAM_KAFKA_BOOTSTRAP_SERVERS: missing (the bus kafka needs its brokers)")
        return self
