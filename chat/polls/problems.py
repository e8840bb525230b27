"""What the polls' API refuses, as its users see it."""

from typing import ClassVar

from runtime.problems import Conflict, Forbidden, NotFound


class PollNotFound(NotFound):
    """The room has never had such a poll."""

    type: ClassVar[str] = "poll-not-found"
    title: ClassVar[str] = "There is no such poll"


class PollIsOver(Conflict):
    """The poll has ended: its result stays as it is."""

    type: ClassVar[str] = "poll-is-over"
    title: ClassVar[str] = "This poll is over"


class PollRuns(Conflict):
    """A room has one poll at a time."""

    type: ClassVar[str] = "poll-runs"
    title: ClassVar[str] = "A poll runs in this room"


class SilencedHere(Forbidden):
    """Whoever is banned or timed out in a room has no vote there."""

    type: ClassVar[str] = "silenced-here"
    title: ClassVar[str] = "You are silenced in this room"
