"""Settings of retention and of the sweeper."""

from __future__ import annotations

from pydantic import Field

from runtime.settings import ProcessSettings


class RetentionSettings(ProcessSettings):
    """How long recordings are kept, and what is done about objects that nobody names."""

    archive_retention: bool = Field(
        default=True,
        description="Whether old recordings are moved to the colder class and deleted by themselves. Off: only by "
        "`livestream retention apply`.",
    )
    archive_retention_cold_after_days: int = Field(
        default=90,
        ge=0,
        le=36_500,
        description="After so many days a recording moves to the colder class (LIVESTREAM_ARCHIVE_S3_COLD_CLASS), "
        "where the store has one. 0: never.",
    )
    archive_retention_delete_after_days: int = Field(
        default=1_095,
        ge=0,
        le=36_500,
        description="After so many days a recording that is not marked to be preserved is deleted. 0: never.",
    )
    archive_retention_every_seconds: float = Field(
        default=3_600.0, ge=1, le=7 * 86_400, description="How long retention and the sweeper rest after a round."
    )
    archive_retention_rows_max: int = Field(
        default=200,
        ge=1,
        le=10_000,
        description="Recordings that one round of retention moves to the colder class, and deletes, at most each.",
    )
    archive_sweep: bool = Field(
        default=True, description="Whether objects that nobody names are removed from the store by themselves."
    )
    archive_sweep_orphans_after_seconds: float = Field(
        default=86_400.0,
        ge=3_600,
        description="How old an object that no row names has to be before it is removed; unfinished uploads as well.",
    )
    archive_sweep_unknown_after_days: int = Field(
        default=30,
        ge=1,
        description="How old everything of a recording that the database does not know at all has to be before it is "
        "removed: time to notice a database that was restored from too old a backup.",
    )
    archive_sweep_objects_per_second: float = Field(
        default=2_000.0, gt=0, description="How fast the sweeper goes through the store, at most."
    )
