"""What can go wrong in notify, as the caller sees it.

::

    Problem
    ├── NotFound
    │   ├── UserNotFound          404
    │   ├── NotFollowing          404
    │   └── FanoutNotFound        404
    ├── Forbidden
    │   ├── BlockedByChannel      403
    │   └── NotYourFanout         403
    ├── Conflict
    │   ├── FanoutStateForbids    409
    │   ├── FollowsThemselves     409
    │   ├── TooManyFollows        409
    │   ├── BlocksThemselves      409
    │   └── TooManyBlocks         409
    ├── InvalidRequest
    │   └── InvalidLastEventId    400
    ├── TooManyRequests
    │   └── TooManyConnections    429  of this person
    └── Unavailable
        └── LiveConnectionsFull   503  of this process
"""

from runtime.problems import Conflict, Forbidden, InvalidRequest, NotFound, TooManyRequests, Unavailable


class UserNotFound(NotFound):
    """Nobody of this id has registered."""

    type = "user-not-found"
    title = "There is no such person"


class NotFollowing(NotFound):
    """The caller does not follow this channel."""

    type = "not-following"
    title = "You do not follow this channel"


class BlockedByChannel(Forbidden):
    """The channel does not let this person follow it."""

    type = "blocked-by-channel"
    title = "This channel has blocked you"


class FanoutNotFound(NotFound):
    """There is no fan-out of this id."""

    type = "fanout-not-found"
    title = "There is no such fan-out"


class NotYourFanout(Forbidden):
    """How a channel's followers are told is the streamer's to see and to steer."""

    type = "not-your-fanout"
    title = "This is another streamer's fan-out"


class FanoutStateForbids(Conflict):
    """What was asked does not go with the state of the fan-out: `state` is it, `allowed` those in which it would go."""

    type = "fanout-state-forbids"
    title = "The fan-out is not in a state for this"


class FollowsThemselves(Conflict):
    """Nobody can follow themselves."""

    type = "follows-themselves"
    title = "Nobody can follow themselves"


class TooManyFollows(Conflict):
    """This person follows as many channels as one may."""

    type = "too-many-follows"
    title = "You follow as many channels as one may"


class BlocksThemselves(Conflict):
    """Nobody can block themselves."""

    type = "blocks-themselves"
    title = "Nobody can block themselves"


class TooManyBlocks(Conflict):
    """This channel has blocked as many people as one may."""

    type = "too-many-blocks"
    title = "You have blocked as many people as one may"


class InvalidLastEventId(InvalidRequest):
    """The Last-Event-ID header is not the id of a notice."""

    type = "invalid-last-event-id"
    title = "The Last-Event-ID is not one of ours"


class TooManyConnections(TooManyRequests):
    """This person has as many live connections as one may."""

    type = "too-many-connections"
    title = "You have too many live connections"


class LiveConnectionsFull(Unavailable):
    """This process has as many live connections as it takes."""

    type = "live-connections-full"
    title = "No more live connections here at the moment"
