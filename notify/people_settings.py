"""What notify is told at its start about people: how many they may follow and block, and when they are away."""

from pydantic import Field

from runtime.settings import ProcessSettings


class PeopleSettings(ProcessSettings):
    """Part of the settings of `python -m notify`."""

    notify_follows_per_user_max: int = Field(
        default=5_000, ge=1, le=20_000, description="Channels that one person may follow."
    )
    notify_blocks_per_channel_max: int = Field(
        default=10_000, ge=1, le=100_000, description="People that one channel may block."
    )
    notify_away_after_days: int = Field(
        default=365,
        ge=30,
        le=3_650,
        description="Who has done nothing here for so long is told nothing until they come back; their follows stay.",
    )
    notify_away_hold: bool = Field(
        default=False,
        description="Only log how many people are away; nobody is silenced. Does not bring anybody back.",
    )
