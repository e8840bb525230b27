"""What can go wrong in streaming, as the caller sees it.

::

    Problem
    ├── NotFound
    │   ├── StreamNotFound     404
    │   └── ChannelNotFound    404
    ├── Conflict
    │   ├── NotPrepared        409  only of a stream that has not begun, or only of one that has
    │   ├── PrivatePlaybackOff 409
    │   ├── StreamHasBegun     409
    │   ├── StreamIsOver       409
    │   └── TooManyPrepared    409
    ├── Forbidden
    │   ├── NotYourStream      403
    │   ├── NotYourChannel     403
    │   ├── BannedByOperator   403
    │   ├── InvitationExpired  403
    │   └── HookRefused        403  the media server must turn the publisher away
    │       ├── WrongSecret         the hook did not come from our media server
    │       ├── ForgedHook          a publisher's own fields pose as the media server's
    │       ├── UnknownApplication  published to where nobody may
    │       ├── NoStreamKey         published without a stream key
    │       ├── WrongStreamName     the name is not the channel's id
    │       └── ActionForbidden     not ours to allow
    ├── NotAuthenticated
    │   └── StreamKeyNeeded    401  published without a key: the media server asks for it
    └── InvalidRequest
        └── MalformedHook      400  not a hook of this dialect

    MediaServerUnavailable     the media server did not do what it was asked to (never shown to callers)
"""

from typing import Final

from runtime.problems import Conflict, Forbidden, InvalidRequest, NotAuthenticated, NotFound

DELETED: Final = "the account of this access token was deleted"
"""Why a channel cannot be made: its person's tombstone leaves it out, and the token is good for minutes yet."""


class StreamNotFound(NotFound):
    """There is no stream of this id."""

    type = "stream-not-found"
    title = "There is no such stream"


class ChannelNotFound(NotFound):
    """There is no channel of this id."""

    type = "channel-not-found"
    title = "There is no such channel"


class NotYourStream(Forbidden):
    """Only the streamer may do this to a stream."""

    type = "not-your-stream"
    title = "This stream belongs to somebody else"


class NotYourChannel(Forbidden):
    """Only its streamer (or an operator) may do this to a channel."""

    type = "not-your-channel"
    title = "This channel belongs to somebody else"


class BannedByOperator(Forbidden):
    """An operator does not let the channel stream."""

    type = "banned-by-operator"
    title = "An operator has banned this channel"


class InvitationExpired(Forbidden):
    """What let people in to a private stream does so no more."""

    type = "invitation-expired"
    title = "The invitation has expired"


class NotPrepared(Conflict):
    """That is for streams which have not begun, and this one has; or the other way round."""

    type = "stream-not-prepared"
    title = "The stream does not stand where this needs it to"


class PrivatePlaybackOff(Conflict):
    """This server was told no secret to sign addresses with."""

    type = "private-playback-off"
    title = "Private streams cannot be watched here"


class StreamHasBegun(Conflict):
    """A stream that has begun cannot be dropped."""

    type = "stream-has-begun"
    title = "The stream has begun"


class StreamIsOver(Conflict):
    """What is over cannot change any more."""

    type = "stream-is-over"
    title = "The stream is over"


class TooManyPrepared(Conflict):
    """The channel has as many prepared streams as it may."""

    type = "too-many-prepared-streams"
    title = "Too many streams are prepared"


class HookRefused(Forbidden):
    """The media server's question is answered with no."""

    type = "hook-refused"
    title = "The publisher is refused"


class WrongSecret(HookRefused):
    """The hook's address does not have our secret."""

    type = "wrong-hook-secret"
    title = "The hook is not from our media server"


class ForgedHook(HookRefused):
    """A publisher added fields of its own that pose as the media server's."""

    type = "forged-hook"
    title = "The hook has fields that only the media server may write"


class UnknownApplication(HookRefused):
    """Published to an application that takes no publishers."""

    type = "unknown-application"
    title = "Nobody may publish there"


class NoStreamKey(HookRefused):
    """Published without a stream key."""

    type = "no-stream-key"
    title = "Who publishes shows a stream key"


class WrongStreamName(HookRefused):
    """The stream's public name is not the id of the key's channel."""

    type = "wrong-stream-name"
    title = "The stream is not named after the channel"


class ActionForbidden(HookRefused):
    """The media server asks about something that is not publishing or watching."""

    type = "action-forbidden"
    title = "This is not for streamers or viewers"


class StreamKeyNeeded(NotAuthenticated):
    """Published without any key, to a media server that asks again with one."""

    type = "stream-key-needed"
    title = "Who publishes shows a stream key"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": 'Basic realm="stream key"'})


class MalformedHook(InvalidRequest):
    """Not a hook that the media server would have written."""

    type = "malformed-hook"
    title = "The hook cannot be read"


class MediaServerUnavailable(Exception):
    """The media server did not answer in time, or not with success. `action` says what it was asked for."""

    def __init__(self, action: str, reason: str) -> None:
        super().__init__(f"{action}: {reason}")
        self.action = action
        self.reason = reason
