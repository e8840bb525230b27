"""Settings of what owners do with their recordings."""

from __future__ import annotations

from pydantic import Field

from runtime.settings import ProcessSettings


class LibrarySettings(ProcessSettings):
    """Deleting, and access to private recordings."""

    archive_undo_seconds: float = Field(
        default=604_800.0,
        ge=0,
        le=7_776_000,
        description="How long a deleted recording can be restored; then its objects are removed. 604800: a week.",
    )
    archive_access_seconds_max: float = Field(
        default=43_200.0,
        gt=0,
        le=43_200,
        description="How long access to a private recording lasts, at most. 43200: twelve hours.",
    )
