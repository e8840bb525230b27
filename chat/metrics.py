"""What chat counts about itself."""

from prometheus_client import Counter, Gauge, Histogram

connections = Gauge("livestream_chat_connections", "Open WebSocket connections of this gateway.")
rooms = Gauge("livestream_chat_rooms", "Rooms open on this gateway.")
deliveries = Counter("livestream_chat_deliveries", "Messages handed to sockets (messages times members).")
flushes = Counter("livestream_chat_flushes", "Batches written to a room's members.")
published = Counter("livestream_chat_published", "Messages accepted from clients of this gateway.")
publish_seconds = Histogram(
    "livestream_chat_publish_seconds",
    "Seconds from a send frame to its place in the room.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0),
)
refused_frames = Counter("livestream_chat_refused_frames", "Client frames refused, by error code.", ("code",))
refused_connections = Counter(
    "livestream_chat_refused_connections", "Connections refused before the upgrade.", ("reason",)
)
joins = Counter("livestream_chat_joins", "Joins, by how they continued.", ("outcome",))
gaps = Counter("livestream_chat_gaps", "Times a room's members were told that messages may be missing.")
resyncs = Counter("livestream_chat_resyncs", "Times a room read what it may have missed.")
slow_clients_cut = Counter("livestream_chat_slow_clients_cut", "Connections cut because they did not read.")
broker_connected = Gauge("livestream_chat_broker_connected", "1 while this gateway hears the broker, else 0.")
