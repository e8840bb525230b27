"""What notify listens to, in three groups that do not wait for each other."""

from eventbus.subscription import Subscription
from events import AccountRegistered, FanoutPagePlanned, StreamStarted
from notify.fanout import Fanouts
from notify.followers import Followers


def subscriptions(fanouts: Fanouts, followers: Followers) -> list[Subscription]:
    """The live lane, the beginnings of fan-outs with the names of people, and the pages."""
    return [
        Subscription("notify-live", {StreamStarted: fanouts.announce_live}),
        Subscription("notify", {AccountRegistered: followers.on_account_registered, StreamStarted: fanouts.begin}),
        # a page is a whole transaction's work: one at a time keeps transactions short and the order of locks simple
        Subscription("notify-pages", {FanoutPagePlanned: fanouts.tell_page}, batch_messages_max=1),
    ]
