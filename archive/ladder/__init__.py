"""The renditions of a recording: what it deserves, planned in chunks, made, and completed."""
