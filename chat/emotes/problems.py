"""What the emotes' API refuses, as its users see it."""

from typing import ClassVar

from runtime.problems import Conflict, NotFound, Unavailable, ValidationFailed


class EmoteNameTaken(Conflict):
    """The channel has an emote of this name; names are told apart by upper and lower case."""

    type: ClassVar[str] = "emote-name-taken"
    title: ClassVar[str] = "The channel has an emote of this name"


class TooManyEmotes(Conflict):
    """The channel has as many emotes as it may have."""

    type: ClassVar[str] = "too-many-emotes"
    title: ClassVar[str] = "The channel has as many emotes as it may"


class EmoteNotFound(NotFound):
    """There is no such emote (any more)."""

    type: ClassVar[str] = "emote-not-found"
    title: ClassVar[str] = "There is no such emote"


class EmoteImageRefused(ValidationFailed):
    """The body is no image that an emote can have."""

    type: ClassVar[str] = "emote-image-refused"
    title: ClassVar[str] = "This image cannot be an emote"


class EmotesAreOff(Unavailable):
    """Whoever runs this has named no place for images."""

    type: ClassVar[str] = "emotes-are-off"
    title: ClassVar[str] = "There are no emotes here"
