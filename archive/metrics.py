"""What the archive counts."""

from prometheus_client import Counter, Gauge, Histogram

segments_shipped = Counter("livestream_archive_segments_shipped", "Segments uploaded and verified.")
segment_lag_seconds = Histogram(
    "livestream_archive_segment_lag_seconds",
    "Seconds from a segment's last byte on the local disk to its row, thus to its being safe.",
    buckets=(0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 120.0, 600.0),
)
segments_lost = Counter("livestream_archive_segments_lost", "Segments that were gone before they could be shipped.")
spool_bytes = Gauge("livestream_archive_spool_bytes", "Segments on the media server's disk, shipped or not.")
spool_filled_ratio = Gauge(
    "livestream_archive_spool_filled_ratio",
    "Share of what segments may take of that disk; above 0.8 the shipper is unready, at 1 the oldest are given up.",
)
segments_unshipped = Gauge("livestream_archive_segments_unshipped", "Closed segments that the store does not have yet.")
segment_unshipped_oldest_seconds = Gauge(
    "livestream_archive_segment_unshipped_oldest_seconds", "Age of the oldest of them."
)
segment_hooks = Counter(
    "livestream_archive_segment_hooks", "Segments that SRS or MediaMTX handed over, by outcome.", ("dialect", "outcome")
)
directories_followed = Gauge("livestream_archive_directories_followed", "Streams that this shipper follows now.")
end_to_playable_seconds = Histogram(
    "livestream_archive_end_to_playable_seconds",
    "Seconds from the end of a stream to its recording being playable.",
    buckets=(0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 60.0, 600.0),
)
recordings_failed = Counter("livestream_archive_recordings_failed", "Recordings given up, by stage.", ("stage",))
jobs = Counter("livestream_archive_jobs", "Jobs, by kind and outcome.", ("kind", "outcome"))
job_seconds = Histogram(
    "livestream_archive_job_seconds",
    "Seconds that a successful job took, by kind.",
    ("kind",),
    buckets=(0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 300.0),
)
jobs_waiting = Gauge(
    "livestream_archive_jobs_waiting", "Jobs that are not done, of all workers; 100,000 stands for more."
)
disk_free_bytes = Gauge(
    "livestream_archive_disk_free_bytes", "Free bytes on the disk of the object store, as far as we may use them."
)
retention_recordings = Counter(
    "livestream_archive_retention_recordings", "Recordings that retention has cooled or deleted.", ("action",)
)
orphans_removed = Counter("livestream_archive_orphans_removed", "Objects that nothing named, removed from the store.")
orphan_bytes_removed = Counter("livestream_archive_orphan_bytes_removed", "Bytes of the orphans that were removed.")
objects_missing = Gauge(
    "livestream_archive_objects_missing", "Objects that the database names and the last sweep did not find."
)
