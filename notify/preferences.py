"""What a person wants to be told, of all channels that they follow."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, time
from typing import Literal

from runtime.problems import ValidationFailed

SHOWN_CHARACTERS_MAX = 64
"""Of a wrong value that is named in the answer."""

EmailWanted = Literal["off", "each", "digest"]


@dataclass(frozen=True, slots=True)
class Preferences:
    """What somebody wants of all channels; the defaults are those of the table.

    Attributes:
        webpush: needs a browser that was subscribed as well, so it is on.
        quiet_from: from when on, in `time_zone`, nothing is pushed or mailed, up to `quiet_until`; both or neither.
        daily_notices_max: pushed and mailed notices in a day of `time_zone`; None: no limit.
        digest_hour: of the day in `time_zone`, for `email` "digest".
    """

    muted: bool = False
    inbox: bool = True
    webpush: bool = True
    email: EmailWanted = "off"
    recordings: bool = False
    time_zone: str = "UTC"
    quiet_from: time | None = None
    quiet_until: time | None = None
    daily_notices_max: int | None = None
    digest_hour: int = 8


@dataclass(frozen=True, slots=True)
class Wishes:
    """Preferences, and since when the person is told nothing because they had been away for very long."""

    preferences: Preferences
    away_since: datetime | None


def check_time_zone(name: str, known: AbstractSet[str]) -> None:
    """Raises ValidationFailed for a zone that is not among the known ones."""
    if name not in known:
        shown = name[:SHOWN_CHARACTERS_MAX]
        raise _wrong("time_zone", f"{shown!r} is no time zone of the IANA database, such as Europe/Berlin")


def check_quiet_hours(preferences: Preferences) -> None:
    """Raises ValidationFailed for quiet hours with one end, or without a length."""
    start, end = preferences.quiet_from, preferences.quiet_until
    if (start is None) != (end is None):
        missing = "quiet_from" if start is None else "quiet_until"
        raise _wrong(missing, "quiet hours have a beginning and an end: send both, or null for both")
    if start is not None and start == end:
        raise _wrong("quiet_until", "must differ from quiet_from; to be told nothing at all, set muted")


def _wrong(field: str, message: str) -> ValidationFailed:
    name = f"body.{field}"
    return ValidationFailed(f"{name}: {message}", errors=[{"field": name, "message": message}])
