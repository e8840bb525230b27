"""What the runtime itself counts; each package declares its own metrics in its own metrics.py."""

from prometheus_client import Counter, Gauge, Histogram

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
query_seconds = Histogram(
    "livestream_query_seconds",
    "Seconds from a statement's sending to its answer, by the query's name.",
    ("query",),
    buckets=(0.005, 0.025, 0.1, 1.0),
)
slow_queries = Counter(
    "livestream_slow_queries", "Statements that took LIVESTREAM_POSTGRES_SLOW_QUERY_SECONDS or longer.", ("query",)
)
postgres_reads = Counter(
    "livestream_postgres_reads",
    "Reads that may go to a replica, by where they went: `replica`, or `primary` and why.",
    ("target", "reason"),
)
postgres_replica_lag_seconds = Gauge(
    "livestream_postgres_replica_lag_seconds", "How far a replica is behind the primary.", ("replica",)
)
postgres_replica_in_use = Gauge(
    "livestream_postgres_replica_in_use", "Whether a replica is read from (1) or left out (0).", ("replica",)
)
postgres_replica_trips = Counter(
    "livestream_postgres_replica_trips", "How often a replica was left out, by why.", ("replica", "reason")
)
limit_checks = Counter(
    "livestream_limit_checks",
    "Requests held against a rate limit, by its name and what came of it.",
    ("limit", "outcome"),
)
limits_redis_away = Gauge(
    "livestream_limits_redis_away", "1 while Redis does not count requests, so that reads pass and logins are refused."
)
idempotent_requests = Counter(
    "livestream_idempotent_requests", "Requests with an Idempotency-Key, by what came of it.", ("outcome",)
)
partitions_postponed = Counter(
    "livestream_partitions_postponed", "Attempts to make partitions ahead that failed and are tried again."
)
erasures_pending = Gauge(
    "livestream_erasures_pending", "Deleted accounts of which a service still keeps something.", ("service",)
)
erasures_oldest_seconds = Gauge(
    "livestream_erasures_oldest_seconds", "For how long the first of those accounts has waited.", ("service",)
)
erasures_done = Counter("livestream_erasures_done", "Deleted accounts of which nothing is left.", ("service",))
