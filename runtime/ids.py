"""UUIDv7 identifiers: unique without coordination, and in the order of their making."""

from datetime import UTC, datetime
from uuid import UUID

from uuid_utils.compat import uuid7 as _uuid7


def uuid7() -> UUID:
    """A new UUIDv7 (RFC 9562 §5.7); ids made in one process ascend."""
    return _uuid7()


def uuid7_time(identifier: UUID) -> datetime:
    """The moment (UTC, millisecond resolution) in a UUIDv7; raises ValueError for any other version."""
    if identifier.version != 7:
        raise ValueError(f"{identifier} is a UUID of version {identifier.version}, not 7")
    return datetime.fromtimestamp((identifier.int >> 80) / 1000, tz=UTC)


def uuid7_floor(moment: datetime) -> UUID:
    """The smallest UUIDv7 of a moment (RFC 9562 §5.7: milliseconds lead), or of 1970 for what is before it."""
    return UUID(int=max(0, int(moment.timestamp() * 1000)) << 80)
