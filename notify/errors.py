"""What can go wrong in notify, as the caller sees it.

::

    Problem
    ├── NotFound
    │   ├── UserNotFound          404
    │   └── FanoutNotFound        404
    ├── Forbidden
    │   └── NotYourFanout         403
    ├── Conflict
    │   ├── FollowsThemselves     409
    │   └── TooManyFollows        409
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


class FanoutNotFound(NotFound):
    """No followers are being told of this stream."""

    type = "fanout-not-found"
    title = "There is no fan-out of such a stream"


class NotYourFanout(Forbidden):
    """How a stream's followers are told is the streamer's to see."""

    type = "not-your-fanout"
    title = "This is another streamer's fan-out"


class FollowsThemselves(Conflict):
    """Nobody can follow themselves."""

    type = "follows-themselves"
    title = "Nobody can follow themselves"


class TooManyFollows(Conflict):
    """This person follows as many channels as one may."""

    type = "too-many-follows"
    title = "You follow as many channels as one may"


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
