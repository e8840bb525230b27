"""What a server needs, checked before it is started and while it runs: one check, one small function."""
