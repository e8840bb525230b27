"""What the archive's API refuses, as its users see it; each part declares its own here."""

from __future__ import annotations

from runtime.problems import Conflict, Forbidden, InvalidRequest, NotFound, TooManyRequests


class RecordingNotFound(NotFound):
    """There is no such recording, or none that the caller may see."""

    type = "recording-not-found"
    title = "There is no such recording"


class NotYourRecording(Forbidden):
    """The caller may see the recording, and it is another's."""

    type = "not-your-recording"
    title = "This recording is another channel's"


class RecordingIsDeleted(Conflict):
    """The caller's own recording, which has to be restored before anything else can be done with it."""

    type = "recording-is-deleted"
    title = "This recording has been deleted"


class RecordingStillRuns(Conflict):
    """Its stream goes on; what was asked for takes a recording that is over."""

    type = "recording-still-runs"
    title = "This recording's stream still runs"


class TooLateToRestore(Conflict):
    """The undo period of a deleted recording is over: its objects are being removed."""

    type = "too-late-to-restore"
    title = "This recording can no longer be restored"


class GrantNotValid(NotFound):
    """A grant that opens nothing: of another recording, expired, taken back, or none at all."""

    type = "grant-not-valid"
    title = "This access is not valid"


class RecordingDoesNotPlay(Conflict):
    """What was asked for takes a recording that plays."""

    type = "recording-does-not-play"
    title = "This recording does not play (yet)"


class TooManyClips(TooManyRequests):
    """The channel has as many clips in the making as it may have."""

    type = "too-many-clips"
    title = "Too many clips are being made"


class DownloadsRefused(Forbidden):
    """The caller may play the recording, and may not have it as a file."""

    type = "downloads-refused"
    title = "This recording may not be downloaded"


class DownloadNotFound(NotFound):
    """Nobody has asked for this download, or it has been removed since."""

    type = "download-not-found"
    title = "There is no such download"


class DownloadTooLarge(Conflict):
    """The file would be larger than this server makes them; `bytes_max` is the limit."""

    type = "download-too-large"
    title = "This recording is too large for a download"


class CaptionsNotFound(NotFound):
    """The recording has no captions in this language."""

    type = "captions-not-found"
    title = "There are no such captions"


class TooManyCaptions(Conflict):
    """The recording has captions in as many languages as it may have."""

    type = "too-many-captions"
    title = "There are too many captions already"


class WrongHookSecret(Forbidden):
    """A segment hook at an address with another secret."""

    type = "wrong-hook-secret"
    title = "The address of the hook is wrong"


class MalformedSegmentHook(InvalidRequest):
    """A segment hook that no media server writes."""

    type = "malformed-segment-hook"
    title = "This is no segment hook"


class ForbiddenSegmentFile(Forbidden):
    """A segment hook that names a file which is none of the media server's segments."""

    type = "forbidden-segment-file"
    title = "This file is not taken for a segment"


class NoRunningRecording(NotFound):
    """A segment hook of something that is not being recorded."""

    type = "no-running-recording"
    title = "Nothing is being recorded under this name"
