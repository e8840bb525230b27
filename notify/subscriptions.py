"""What notify's people and fan-outs listen to, in groups that do not wait for each other."""

from eventbus.subscription import Subscription
from events import (
    AccountDeleted,
    AccountRegistered,
    AccountRenamed,
    FanoutPagePlanned,
    RecordingPublished,
    StreamEnded,
    StreamStarted,
    StreamUpdated,
)
from notify.fanout import Fanouts
from notify.followers import remember_person
from notify.people.events import forget_person, rename_person


def subscriptions(fanouts: Fanouts) -> list[Subscription]:
    """The live lane, and the beginnings and ends of fan-outs with the names of people."""
    return [
        Subscription(
            "notify-live",
            {
                StreamStarted: fanouts.announce_live,
                StreamUpdated: fanouts.announce_published_live,
                RecordingPublished: fanouts.announce_recording_live,
            },
        ),
        # a start and its end share a group and a partition: what has ended was begun before
        Subscription(
            "notify",
            {
                AccountRegistered: remember_person,
                AccountRenamed: rename_person,
                AccountDeleted: forget_person,
                StreamStarted: fanouts.begin,
                StreamUpdated: fanouts.begin_published,
                StreamEnded: fanouts.end,
            },
        ),
        Subscription("notify-recordings", {RecordingPublished: fanouts.begin_recording}),
    ]


def page_subscription(fanouts: Fanouts) -> Subscription:
    """The pages. Each is a transaction's work: one at a time keeps transactions short, and their locks in order."""
    return Subscription("notify-pages", {FanoutPagePlanned: fanouts.tell_page}, batch_messages_max=1)
