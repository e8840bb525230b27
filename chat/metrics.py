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
irc_connections = Gauge("livestream_chat_irc_connections", "Open IRC connections of this gateway.", ("transport",))
irc_lines_refused = Counter("livestream_chat_irc_lines_refused", "IRC lines not taken, by reason.", ("reason",))
irc_logins = Counter("livestream_chat_irc_logins", "IRC logins, by outcome.", ("outcome",))
told_late = Counter("livestream_chat_told_late", "Deletions and approved messages that a room got by a second try.")
moderated = Counter("livestream_chat_moderated", "What moderators did, by action.", ("action",))
sends_refused = Counter(
    "livestream_chat_sends_refused", "Sends refused by the rules of a room, by error code.", ("code",)
)
held = Counter("livestream_chat_held", "Messages held for a moderator, by what became of them.", ("outcome",))
people_noted = Counter("livestream_chat_people_noted", "Times that somebody was noted as present in a room.")
emotes_added = Counter("livestream_chat_emotes_added", "Emotes uploaded.")
polls_started = Counter("livestream_chat_polls_started", "Polls started.")
votes = Counter("livestream_chat_votes", "Votes cast or changed.")
follow_notes = Counter(
    "livestream_chat_follow_notes",
    "New followers by whether their room was told: said, summed-up, not-said.",
    ("outcome",),
)
