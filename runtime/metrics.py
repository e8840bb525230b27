"""What the runtime itself counts; each package declares its own metrics in its own metrics.py."""

from prometheus_client import Counter, Histogram

http_request_seconds = Histogram(
    "livestream_http_request_seconds",
    "Seconds from a request's head to its answer, by route template; WebSockets and event streams are not timed.",
    ("method", "route", "status"),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
)
token_checks = Counter("livestream_token_checks", "Access tokens verified, by outcome.", ("outcome",))
key_set_fetches = Counter(
    "livestream_key_set_fetches", "Fetches of the signing keys' public half, by outcome.", ("outcome",)
)
dependency_waits = Counter(
    "livestream_dependency_waits", "Attempts that found a dependency away at start.", ("dependency",)
)
