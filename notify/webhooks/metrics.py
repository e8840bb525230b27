"""What webhooks count."""

from prometheus_client import Counter, Histogram

attempts = Counter("livestream_notify_webhook_attempts", "Attempts to post a webhook, by outcome.", ("outcome",))
attempt_seconds = Histogram(
    "livestream_notify_webhook_attempt_seconds",
    "Seconds of one attempt, the answer included.",
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0),
)
endpoints_disabled = Counter(
    "livestream_notify_webhook_endpoints_disabled", "Endpoints that were disabled, by why.", ("why",)
)
messages_swept = Counter("livestream_notify_webhook_messages_swept", "Messages whose time in the log was over.")
