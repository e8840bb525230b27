"""Settings of how long streams are kept."""

from pydantic import Field

from runtime.settings import ProcessSettings


class StreamRetentionSettings(ProcessSettings):
    """How long streams are kept, and where. The streams, not their recordings, which are the archive's."""

    streaming_retention: bool = Field(
        default=True,
        description="Whether old streams are moved to the cold table and purged by themselves. Off: only by "
        "`livestream retention apply`.",
    )
    streaming_retention_cold_after_days: int = Field(
        default=731,
        ge=0,
        le=36_500,
        description="A month of streams moves to the cold table when all of them ended so many days ago. 0: never.",
    )
    streaming_retention_purge_after_days: int = Field(
        default=2_557,
        ge=0,
        le=36_500,
        description="A stream that ended so many days ago is removed, with its statistics. 0: never.",
    )
