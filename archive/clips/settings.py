"""Settings of clips."""

from __future__ import annotations

from pydantic import Field

from runtime.settings import ProcessSettings


class ClipsSettings(ProcessSettings):
    """How long clips may be, and how many are made at once."""

    archive_clip_seconds_max: float = Field(
        default=14_400.0, ge=1, le=200_000, description="How long a clip may be. 14400: four hours."
    )
    archive_trim_seconds_max: float = Field(
        default=172_800.0,
        ge=1,
        le=200_000,
        description="How long a clip may be that takes its recording's place. 172800: two days.",
    )
    archive_clips_pending_max: int = Field(
        default=20, ge=1, le=1_000, description="Clips of one channel that wait to be made, at most."
    )
