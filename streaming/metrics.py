"""What streaming counts."""

from prometheus_client import Counter, Gauge, Histogram

hook_answers = Counter(
    "livestream_streaming_hook_answers",
    "Hooks of media servers, by server, dialect, event and answer; the server is empty where the secret is nobody's.",
    ("server", "dialect", "event", "answer"),
)
hook_seconds = Histogram(
    "livestream_streaming_hook_seconds",
    "Seconds from a hook's arrival to its answer, by dialect and event.",
    ("dialect", "event"),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
streams_started = Counter("livestream_streaming_streams_started", "Streams that began.")
streams_resumed = Counter("livestream_streaming_streams_resumed", "Publishers that took up an open stream again.")
streams_ended = Counter("livestream_streaming_streams_ended", "Streams that ended, by reason.", ("reason",))
streams_open = Gauge("livestream_streaming_streams_open", "Streams that are not over, by status.", ("status",))
takeovers = Counter("livestream_streaming_takeovers", "Publishers dropped because another took their place.")
sessions_reconciled = Counter(
    "livestream_streaming_sessions_reconciled",
    "Sessions set right because the media server was asked, by outcome: gone, resumed, dropped.",
    ("outcome",),
)
media_server_answers = Gauge(
    "livestream_streaming_media_server_answers", "Whether a media server answers who publishes: 1 or 0.", ("server",)
)
media_server_publishers = Gauge(
    "livestream_streaming_media_server_publishers", "Publishers that a media server last had.", ("server",)
)
media_server_failures = Counter(
    "livestream_streaming_media_server_failures", "Requests to the media server that failed, by action.", ("action",)
)
live_list_answers = Counter(
    "livestream_streaming_live_list_answers",
    "Live lists served: from the cache, the database, or `outdated` without it.",
    ("source",),
)
live_list_signals = Counter(
    "livestream_streaming_live_list_signals", "Changes of the live list that other processes have told."
)
live_list_subscribed = Gauge(
    "livestream_streaming_live_list_subscribed", "Whether other processes' changes of the live list are heard (1)."
)
streams_moved = Counter("livestream_streaming_streams_moved", "Old streams that were moved to the cold table.")
streams_purged = Counter("livestream_streaming_streams_purged", "Streams removed because of their age.")
retention_postponed = Counter(
    "livestream_streaming_retention_postponed", "Rounds of stream retention that were cut short, to be gone on with."
)
heartbeats = Counter(
    "livestream_streaming_heartbeats",
    "Heartbeats: counted, not-counted (first, too soon, not playing), too-many-of-address, uncounted (no Redis).",
    ("outcome",),
)
viewers = Gauge("livestream_streaming_viewers", "Who watches, all streams, as of the last minute written here.")
