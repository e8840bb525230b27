"""Preferences as they change: kept, made true of the follows that exist, and told to the live lane."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID
from zoneinfo import available_timezones

import structlog

from notify import preferences_store, store
from notify.announcer import Announcer, PreferencesChange
from notify.preferences import Wishes, check_quiet_hours, check_time_zone
from runtime.postgres import Pool
from runtime.tokens import Caller

log = structlog.get_logger(__name__)

MACHINE_ZONES = frozenset({"localtime", "Factory", "posixrules"})
"""Files beside those of the IANA database: they mean whatever the machine means."""


class EveryonesPreferences:
    """Reads and changes preferences; tells the live lane where that matters to it.

    Concurrency: changes of one person wait for each other at the person's row, as follows do, so a follow that is made
    at the same time is silenced with the others.
    """

    def __init__(self, pool: Pool, announcer: Announcer) -> None:
        self._pool = pool
        self._announcer = announcer
        self._time_zones: frozenset[str] = frozenset()

    async def find(self, user_id: UUID) -> Wishes:
        """What somebody wants."""
        return Wishes(
            await preferences_store.find_preferences(self._pool, user_id),
            await preferences_store.find_away_since(self._pool, user_id),
        )

    async def change(self, caller: Caller, changes: Mapping[str, Any]) -> Wishes:
        """Change fields of the caller's preferences by name. Raises ValidationFailed."""
        if "time_zone" in changes:
            check_time_zone(changes["time_zone"], await self._known_time_zones())
        async with self._pool.acquire() as connection, connection.transaction():
            await store.keep_person(connection, caller.user_id, caller.name)  # holds the row, changed or not
            before = await preferences_store.find_preferences(connection, caller.user_id)
            after = replace(before, **changes)
            check_quiet_hours(after)
            away_since = await preferences_store.find_away_since(connection, caller.user_id)
            await preferences_store.save_preferences(connection, caller.user_id, after)
            if after.muted != before.muted:
                silent = after.muted or away_since is not None
                await preferences_store.silence_follows(connection, [caller.user_id], is_silent=silent)
        log.info("preferences_changed", user_id=str(caller.user_id), changed=sorted(changes))
        if (after.muted, after.inbox, after.recordings) != (before.muted, before.inbox, before.recordings):
            await self._announcer.preferences_changed(PreferencesChange(user_id=caller.user_id))
        return Wishes(after, away_since)

    async def come_back(self, caller: Caller) -> Wishes:
        """Tell the caller of everything again that they had been told before they were away."""
        async with self._pool.acquire() as connection, connection.transaction():
            await store.keep_person(connection, caller.user_id, caller.name)
            await preferences_store.come_back(connection, caller.user_id)
            preferences = await preferences_store.find_preferences(connection, caller.user_id)
            if not preferences.muted:
                await preferences_store.silence_follows(connection, [caller.user_id], is_silent=False)
        log.info("person_came_back", user_id=str(caller.user_id))
        await self._announcer.preferences_changed(PreferencesChange(user_id=caller.user_id))
        return Wishes(preferences, None)

    async def _known_time_zones(self) -> frozenset[str]:
        """Those of the IANA database that Postgres knows as well, because it is Postgres that computes with them."""
        if not self._time_zones:
            known_to_postgres = await preferences_store.list_time_zones(self._pool)
            self._time_zones = (known_to_postgres & available_timezones()) - MACHINE_ZONES
        return self._time_zones
