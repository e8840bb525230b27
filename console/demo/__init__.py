"""The demo: one stream lived as its streamer, followers and viewers live it, every step verified from outside."""
