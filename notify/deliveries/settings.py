"""What deliveries and the client that sends them can be told."""

from ipaddress import IPv4Network, IPv6Network
from typing import Self

from pydantic import Field, model_validator

from runtime.settings import ProcessSettings

SETTLE_SECONDS = 5.0
"""Kept at the end of a lease for writing down what became of the last attempt."""


class DeliverySettings(ProcessSettings):
    """Settings of the delivery workers, and of HTTP to addresses that strangers chose."""

    notify_delivery_lease_seconds: float = Field(
        default=30.0,
        ge=5,
        le=600,
        description="How long a worker may keep deliveries to itself; those of one that died are repeated after it.",
    )
    notify_delivery_send_seconds_max: float = Field(
        default=12.0, gt=0, le=120, description="After this an attempt to send has failed."
    )
    notify_delivery_batch_max: int = Field(
        default=1_000, ge=1, le=5_000, description="Deliveries that a worker takes, or settles, in one statement."
    )
    notify_delivery_sends_max: int = Field(
        default=64, ge=1, le=2_000, description="Sends at once of one worker: one delivery channel in one process."
    )
    notify_delivery_sends_per_provider_max: int = Field(
        default=32,
        ge=1,
        le=1_000,
        description="Sends at once to one provider, so that a slow one leaves room for the others.",
    )
    notify_delivery_poll_seconds_max: float = Field(
        default=1.0, gt=0, le=10, description="How often a worker without work looks for some."
    )
    notify_delivery_failures_max: int = Field(
        default=10,
        ge=1,
        le=1_000,
        description="Failures of a provider in a row after which it is left alone for a while.",
    )
    notify_delivery_pause_seconds_max: float = Field(
        default=300.0, gt=0, le=86_400, description="The longest while that a failing provider is left alone."
    )
    notify_delivery_dead_days_max: int = Field(
        default=14, ge=1, le=365, description="How long deliveries that were given up on are kept for a replay."
    )
    notify_outbound_allow: list[IPv4Network | IPv6Network] = Field(
        default=[],
        max_length=32,
        description="Networks that pushes and webhooks may be sent to although they are not public, as JSON: "
        '["10.1.0.0/16"]. These may also be sent to without TLS, and on any port.',
    )
    notify_outbound_connections_max: int = Field(
        default=256, ge=1, le=10_000, description="Connections at once to those who take pushes and webhooks."
    )
    notify_outbound_connections_per_host_max: int = Field(
        default=32, ge=1, le=1_000, description="Of these, connections to one host."
    )

    @model_validator(mode="after")
    def _a_lease_outlasts_an_attempt(self) -> Self:
        if self.notify_delivery_lease_seconds < self.notify_delivery_send_seconds_max + SETTLE_SECONDS + 1:
            raise ValueError(
                "notify_delivery_lease_seconds must be more than notify_delivery_send_seconds_max and 6 s together"
            )
        return self
