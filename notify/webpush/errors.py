"""What can go wrong with subscriptions to Web Push, as the caller sees it.

::

    Problem
    ├── NotFound
    │   ├── WebPushOff               404
    │   └── PushSubscriptionNotFound 404
    └── Conflict
        └── TooManyPushSubscriptions 409
"""

from runtime.problems import Conflict, NotFound


class WebPushOff(NotFound):
    """This installation has no key to sign push messages with."""

    type = "web-push-off"
    title = "This installation does not send Web Push"


class PushSubscriptionNotFound(NotFound):
    """The caller has no subscription of this id."""

    type = "push-subscription-not-found"
    title = "You have no such subscription"


class TooManyPushSubscriptions(Conflict):
    """This person has as many subscriptions as one may."""

    type = "too-many-push-subscriptions"
    title = "You have as many browsers subscribed as one may"
