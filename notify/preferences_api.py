"""Preferences over HTTP: what one wants of all channels, and coming back after a long time."""

from datetime import datetime, time
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from notify.activity import Activity
from notify.everyones_preferences import EveryonesPreferences
from notify.preferences import EmailWanted, Wishes
from runtime.endpoints import endpoint
from runtime.tokens import Caller

DAILY_NOTICES_MAX = 1_000
TIME_ZONE_CHARACTERS_MAX = 100
COME_BACK = "POST /api/notifications/preferences/back"

TimeOfDay = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]


class Absence(BaseModel):
    """Whether you are told nothing because you had been away for very long, and how to change that."""

    away_since: datetime | None = Field(
        default=None,
        description="Since then you are told nothing: you had done nothing here for very long. Null: you are told.",
    )
    to_come_back: str | None = Field(
        default=None, description="The request that lets you be told again; null: you are not away."
    )


class PreferencesView(Absence):
    """What you want of all channels that you follow."""

    muted: bool = Field(description="You are told nothing at all.")
    inbox: bool = Field(description="Notices come into your inbox and on the live lane.")
    webpush: bool = Field(description="Notices are pushed to those of your browsers that you have subscribed.")
    email: EmailWanted = Field(description="Notices are mailed: never, each of them, or together once a day.")
    recordings: bool = Field(description="You are told of recordings, too.")
    time_zone: str = Field(description="Of your days and hours, by its name in the IANA database.")
    quiet_from: TimeOfDay | None = Field(description="From then on nothing is pushed or mailed; null: no quiet hours.")
    quiet_until: TimeOfDay | None = Field(description="When the quiet hours end, perhaps on the next day.")
    daily_notices_max: int | None = Field(
        description="More notices in a day are neither pushed nor mailed; they are in the inbox. Null: no limit."
    )
    digest_hour: int = Field(description="The hour of the day at which the digest is mailed.")


class PreferencesChanges(BaseModel):
    """What is to change; what is left out stays as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    muted: bool = Field(default_factory=bool)
    inbox: bool = Field(default_factory=bool)
    webpush: bool = Field(default_factory=bool)
    email: EmailWanted = Field(default_factory=lambda: "off")
    recordings: bool = Field(default_factory=bool)
    time_zone: str = Field(default_factory=str, max_length=TIME_ZONE_CHARACTERS_MAX)
    quiet_from: TimeOfDay | None = None
    quiet_until: TimeOfDay | None = None
    daily_notices_max: int | None = Field(default=None, ge=0, le=DAILY_NOTICES_MAX)
    digest_hour: int = Field(default_factory=int, ge=0, le=23)


class PreferencesApi:
    """What people want to be told."""

    tag = "notifications"

    def __init__(self, preferences: EveryonesPreferences, activity: Activity) -> None:
        self._preferences = preferences
        self._activity = activity

    @endpoint("GET", "/api/notifications/preferences")
    async def show_preferences(self, caller: Caller) -> PreferencesView:
        """What you want to be told of all channels that you follow."""
        await self._activity.note(caller)
        return _view(await self._preferences.find(caller.user_id))

    @endpoint("PATCH", "/api/notifications/preferences")
    async def change_preferences(self, caller: Caller, body: PreferencesChanges) -> PreferencesView:
        """Change what you want to be told; channels for which you have said something else keep that."""
        await self._activity.note(caller)
        changes: dict[str, Any] = {name: getattr(body, name) for name in body.model_fields_set}
        for name in ("quiet_from", "quiet_until"):
            if changes.get(name) is not None:
                changes[name] = time.fromisoformat(changes[name])
        return _view(await self._preferences.change(caller, changes))

    @endpoint("POST", "/api/notifications/preferences/back")
    async def come_back(self, caller: Caller) -> PreferencesView:
        """Be told again of everything that you follow, after you had been away for very long.

        Changes nothing for somebody who is not away. Who has muted everything stays muted.
        """
        return _view(await self._preferences.come_back(caller))


def absence(away_since: datetime | None) -> Absence:
    """What somebody is told of their being away."""
    return Absence(away_since=away_since, to_come_back=COME_BACK if away_since is not None else None)


def _view(wishes: Wishes) -> PreferencesView:
    wanted = wishes.preferences
    return PreferencesView(
        **absence(wishes.away_since).model_dump(),
        muted=wanted.muted,
        inbox=wanted.inbox,
        webpush=wanted.webpush,
        email=wanted.email,
        recordings=wanted.recordings,
        time_zone=wanted.time_zone,
        quiet_from=_time_of_day(wanted.quiet_from),
        quiet_until=_time_of_day(wanted.quiet_until),
        daily_notices_max=wanted.daily_notices_max,
        digest_hour=wanted.digest_hour,
    )


def _time_of_day(moment: time | None) -> str | None:
    return None if moment is None else moment.strftime("%H:%M")
