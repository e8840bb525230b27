"""What the bus counts: how late the outbox is, what the consumers did, how far they are behind."""

from prometheus_client import Counter, Gauge, Histogram

events_published = Counter("livestream_outbox_published", "Events that the broker acknowledged.", ("schema",))
events_unpublished = Gauge(
    "livestream_outbox_unpublished_events", "Events behind the relay's cursor, counted up to 10,001.", ("schema",)
)
oldest_unpublished_seconds = Gauge(
    "livestream_outbox_oldest_unpublished_seconds", "Age of the oldest event that is not published yet.", ("schema",)
)
publish_seconds = Histogram(
    "livestream_outbox_publish_seconds",
    "Seconds from handing a batch to the bus until all of it is acknowledged.",
    ("schema",),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0),
)
relay_leads = Gauge("livestream_outbox_relay_leads", "1 in the process whose relay publishes.", ("schema",))

messages_consumed = Counter(
    "livestream_consume_messages",
    "Messages dealt with, by outcome: handled, duplicate, skipped, dead.",
    ("group", "outcome"),
)
failures = Counter(
    "livestream_consume_failures",
    "Failed attempts, by kind: outage, transient, unknown, unprocessable.",
    ("group", "kind"),
)
batch_seconds = Histogram(
    "livestream_consume_batch_seconds",
    "Seconds from taking a batch in hand until its effects are committed.",
    ("group",),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0),
)
lag_messages = Gauge(
    "livestream_consume_lag_messages", "Messages published and not yet dealt with.", ("group", "topic", "partition")
)
group_oldest_unread_seconds = Gauge(
    "livestream_bus_group_oldest_unread_seconds",
    "Age of the oldest event that a group has not read, on the bus on Postgres.",
    ("group", "topic"),
)
