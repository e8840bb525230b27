"""Puts together what is about people: follows, blocks, preferences, the inbox, and looking for who is away."""

from datetime import timedelta

from notify.activity import Activity
from notify.away import AwayWatch
from notify.blocks_api import BlocksApi
from notify.everyones_preferences import EveryonesPreferences
from notify.followers import Followers
from notify.follows_api import FollowsApi
from notify.inbox_api import InboxApi
from notify.mail.away import enqueue_away_mail
from notify.parts import NotifyParts
from notify.preferences_api import PreferencesApi
from runtime.assembly import Assembly


def assemble_people(parts: NotifyParts) -> Assembly:
    """The endpoints that people use, and the daily look for those who have not been here for very long."""
    settings, pool = parts.settings, parts.pool
    activity = Activity(pool)
    followers = Followers(
        pool,
        parts.outbox,
        parts.registry,
        parts.announcer,
        follows_per_user_max=settings.notify_follows_per_user_max,
        blocks_per_channel_max=settings.notify_blocks_per_channel_max,
    )
    preferences = EveryonesPreferences(pool, parts.announcer)
    return Assembly(
        apis=[
            FollowsApi(parts.reads, followers, activity),
            BlocksApi(pool, followers, activity),
            PreferencesApi(preferences, activity),
            InboxApi(pool, activity),
        ],
        services=[
            AwayWatch(
                pool,
                after=timedelta(days=settings.notify_away_after_days),
                hold=settings.notify_away_hold,
                tell=enqueue_away_mail,
            )
        ],
    )
