"""Settings of posters and storyboards."""

from __future__ import annotations

from pydantic import Field

from runtime.settings import ProcessSettings


class PictureSettings(ProcessSettings):
    """How many pictures are taken from a recording."""

    archive_storyboard_seconds: int = Field(
        default=10,
        ge=1,
        le=600,
        description="A storyboard has one tile for each of so many seconds, where they suffice.",
    )
    archive_storyboard_tiles_max: int = Field(
        default=400,
        ge=1,
        le=5_000,
        description="Tiles of one storyboard, at most: of a longer recording each stands for more seconds.",
    )
