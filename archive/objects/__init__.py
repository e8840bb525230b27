"""The object store: its port, its backends, and copying from one to another."""
