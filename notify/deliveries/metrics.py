"""What deliveries count."""

from prometheus_client import Counter, Gauge, Histogram

deliveries = Counter(
    "livestream_notify_deliveries",
    "Deliveries that ended, by what became of them: delivered, gone, refused, dropped, expired, failed (given up on).",
    ("channel", "lane", "outcome"),
)
attempts_failed = Counter(
    "livestream_notify_delivery_attempts_failed", "Attempts that failed and are repeated.", ("channel", "lane")
)
deliveries_released = Counter(
    "livestream_notify_deliveries_released",
    "Deliveries given back without an attempt: their provider was paused, or there was no time left for them.",
    ("channel", "lane"),
)
deliveries_lost = Counter(
    "livestream_notify_deliveries_lost",
    "Deliveries whose lease was over before they were settled: they are sent again.",
    ("channel", "lane"),
)
queue_age_seconds = Gauge(
    "livestream_notify_delivery_queue_age_seconds",
    "How long ago the oldest delivery of the last claim was queued, of those that had not failed; 0: none waits.",
    ("channel", "lane"),
)
send_seconds = Histogram(
    "livestream_notify_delivery_send_seconds",
    "Seconds that an attempt takes.",
    ("channel",),
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
providers_paused = Gauge(
    "livestream_notify_providers_paused", "Providers that are left alone at the moment.", ("channel",)
)
