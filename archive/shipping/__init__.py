"""From the media server's disk to the object store: the shipper, its spool, and the hooks that feed it."""
