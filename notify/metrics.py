"""What notify counts: fan-outs, pages, and the people on the live lane."""

from prometheus_client import Counter, Gauge, Histogram

fanouts_begun = Counter("livestream_notify_fanouts_begun", "Fan-outs begun, one for each stream that started.")
fanouts_suppressed = Counter(
    "livestream_notify_fanouts_suppressed", "Streams that started and of which nobody is told.", ("because",)
)
pages = Counter("livestream_notify_pages", "Pages that came, by what became of them.", ("verdict",))
notices_written = Counter("livestream_notify_notices_written", "Inbox rows written.")
page_seconds = Histogram(
    "livestream_notify_page_seconds",
    "Seconds from the start of a page's transaction to its last statement.",
    buckets=(0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
)
fanout_seconds = Histogram(
    "livestream_notify_fanout_seconds",
    "Seconds from hearing that a stream started to its last inbox row.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0),
)
live_connections = Gauge("livestream_notify_live_connections", "Open live connections.")
live_delivered = Counter("livestream_notify_live_delivered", "Notices handed to live connections.")
live_tell_seconds = Histogram(
    "livestream_notify_live_tell_seconds",
    "Seconds from hearing a notice on Redis to writing it to the last client of this process.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
)
live_queued = Counter("livestream_notify_live_queued", "Writes that had to wait for a client that was behind.")
live_cut = Counter("livestream_notify_live_cut", "Live connections that were cut, by reason.", ("reason",))
live_publish_failures = Counter("livestream_notify_live_publish_failures", "Notices that Redis did not take in time.")
live_subscribed = Gauge("livestream_notify_live_subscribed", "1 while the process hears Redis.")
live_catch_ups = Counter("livestream_notify_live_catch_ups", "Times that Redis was lost and clients were caught up.")
people_away = Counter("livestream_notify_people_away", "People who were silenced because they were away for very long.")
