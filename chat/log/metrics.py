"""What the log counts about itself."""

from prometheus_client import Counter, Gauge, Histogram

written = Counter("livestream_chat_log_messages", "Messages said as events and, in rooms that want it, written down.")
unreadable = Counter("livestream_chat_log_unreadable", "What waited to be written down and is no message.")
write_seconds = Histogram(
    "livestream_chat_log_write_seconds",
    "Seconds from the sending of a message to the commit that has it (one of each batch: the oldest).",
    buckets=(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0),
)
oldest_seconds = Gauge(
    "livestream_chat_log_oldest_seconds", "Age of the oldest message that this process has seen waiting; 0: none was."
)
waiting = Gauge("livestream_chat_log_waiting", "Messages that waited when this process last looked.")
erased = Counter("livestream_chat_log_erased", "Messages whose words were erased because somebody took them back.")
expired = Counter("livestream_chat_log_expired", "Messages that were removed because of their age.")
