"""What chat's HTTP endpoints refuse, as the caller sees it.

::

    Problem
    ├── NotFound
    │   ├── RoomMissing             404  (roompath.py)
    │   ├── BlockedTermNotFound     404
    │   └── HeldMessageNotFound     404
    ├── Forbidden
    │   ├── NotAModerator           403
    │   ├── NotTheStreamer          403
    │   └── NotToBeModerated        403
    └── Conflict
        ├── AlreadyModerates        409
        ├── TooManyModerators       409
        └── TooManyBlockedTerms     409
"""

from runtime.problems import Conflict, Forbidden, NotFound


class NotAModerator(Forbidden):
    """This is for those who moderate the room."""

    type = "not-a-moderator"
    title = "You do not moderate this room"


class NotTheStreamer(Forbidden):
    """This is for the room's streamer alone."""

    type = "not-the-streamer"
    title = "This is for the room's streamer"


class NotToBeModerated(Forbidden):
    """The streamer, moderators (but for the streamer) and oneself cannot be silenced."""

    type = "not-to-be-moderated"
    title = "This person cannot be silenced by you"


class AlreadyModerates(Conflict):
    """The streamer is no moderator of their own room: they may everything already."""

    type = "already-moderates"
    title = "This person may everything here already"


class TooManyModerators(Conflict):
    """The room has as many moderators as it may; `moderators_max` says how many."""

    type = "too-many-moderators"
    title = "This room has as many moderators as it may"


class TooManyBlockedTerms(Conflict):
    """The room has as many blocked terms as it may; `blocked_terms_max` says how many."""

    type = "too-many-blocked-terms"
    title = "This room has as many blocked terms as it may"


class BlockedTermNotFound(NotFound):
    """The room has no blocked term of this id."""

    type = "blocked-term-not-found"
    title = "There is no such blocked term"


class HeldMessageNotFound(NotFound):
    """No message of this id waits: it was decided, or waited too long."""

    type = "held-message-not-found"
    title = "There is no such message waiting"
