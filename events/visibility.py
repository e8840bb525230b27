"""Who is told of a stream or a recording, and who may watch it."""

from enum import StrEnum


class Visibility(StrEnum):
    """Who knows of it."""

    PUBLIC = "public"
    """Everybody; it stands in lists, and followers get their notices."""
    UNLISTED = "unlisted"
    """Whoever has its address; it stands in no list and nobody is told."""
    PRIVATE = "private"
    """Its streamer, and whom the streamer lets; to everybody else it is not there."""
