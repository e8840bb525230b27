"""What can go wrong with webhooks, as the caller sees it.

::

    Problem
    ├── NotFound
    │   ├── WebhookNotFound        404  none of yours
    │   └── MessageNotFound        404
    ├── Conflict
    │   ├── TooManyWebhooks        409
    │   ├── WebhookDisabled        409
    │   └── MessagePending         409
    ├── TooManyRequests
    │   └── TooManyTests           429
    └── Unavailable
        └── WebhooksOff            503
"""

from runtime.problems import Conflict, NotFound, TooManyRequests, Unavailable


class WebhookNotFound(NotFound):
    """You have no such webhook."""

    type = "webhook-not-found"
    title = "You have no such webhook"


class MessageNotFound(NotFound):
    """The webhook's log has no such message (any more)."""

    type = "webhook-message-not-found"
    title = "There is no such message in this webhook's log"


class TooManyWebhooks(Conflict):
    """This person has as many webhooks as one may."""

    type = "too-many-webhooks"
    title = "You have as many webhooks as one may"


class WebhookDisabled(Conflict):
    """Nothing is posted to this webhook until its owner enables it."""

    type = "webhook-disabled"
    title = "This webhook is disabled"


class MessagePending(Conflict):
    """The message is still being tried."""

    type = "webhook-message-pending"
    title = "This message is still being tried"


class TooManyTests(TooManyRequests):
    """This webhook was tested as often as it may be in a minute."""

    type = "too-many-webhook-tests"
    title = "This webhook was tested too often"


class WebhooksOff(Unavailable):
    """This installation has no secret to seal webhooks with."""

    type = "webhooks-off"
    title = "There are no webhooks on this server"
