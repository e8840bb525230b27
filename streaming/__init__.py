"""Streaming: channels and their stream keys, the media server's hooks, and the life of every stream."""
