"""Everything that can go wrong while keeping recordings, as one tree.

::

    ArchiveError
    ├── PlaylistUnreadable          the media server's playlist is not one
    ├── CaptionsRefused             the text is no WebVTT that players agree on; the line is named
    ├── MediaRefused                the media cannot be used: no picture, giant, unreadable
    ├── ProcessError                a child process did not do its work
    │   ├── ProcessFailed           … it said so by its exit code
    │   ├── ProcessTimedOut         … it took too long, or was silent too long
    │   └── ProcessOutputTooLarge   … it wrote more than was agreed
    ├── ObjectStoreError
    │   ├── InvalidKey              a key outside the alphabet; traversal ends here
    │   ├── ObjectMissing
    │   ├── ObjectTooLarge
    │   ├── ObjectDamaged           its bytes are not those that were written down
    │   └── StoreUnavailable        the store did not answer, or answered with an error
    └── LeaseLost                   another worker has the job now
"""

from __future__ import annotations

from uuid import UUID

from runtime.objects import ObjectStoreError


class ArchiveError(Exception):
    """Base of every error that the archive raises itself."""


class PlaylistUnreadable(ArchiveError):
    """The text is not a media playlist of the media server."""


class CaptionsRefused(ArchiveError):
    """The text is not WebVTT; the reason is shown to users. ``line`` counts from 1."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason


class MediaRefused(ArchiveError):
    """The media cannot become a recording; the text says why and is shown to users."""


class ProcessError(ArchiveError):
    """A child process did not do its work; ``stderr_tail`` holds the last lines that it wrote."""

    def __init__(self, program: str, reason: str, stderr_tail: str) -> None:
        super().__init__(f"{program} {reason}" + (f": {stderr_tail}" if stderr_tail else ""))
        self.program = program
        self.reason = reason
        self.stderr_tail = stderr_tail


class ProcessFailed(ProcessError):
    """The child ended with an exit code other than 0 (negative: the signal that ended it)."""

    def __init__(self, program: str, exit_code: int, stderr_tail: str, reason: str | None = None) -> None:
        super().__init__(program, reason or f"ended with exit code {exit_code}", stderr_tail)
        self.exit_code = exit_code


class ProcessTimedOut(ProcessError):
    """The child was stopped because it took, or was silent, too long."""


class ProcessOutputTooLarge(ProcessError):
    """The child was killed because it wrote more to stdout than was agreed."""


class ObjectDamaged(ArchiveError, ObjectStoreError):
    """The object is missing or is not what was written down of it."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"object {key} {reason}")
        self.key = key
        self.reason = reason


class LeaseLost(ArchiveError):
    """The lease ran out and somebody else took, or finished, the job."""

    def __init__(self, stream_id: UUID, kind: str, number: int, fence: int) -> None:
        super().__init__(f"lease {fence} on job {kind} {number} of {stream_id} is lost")
        self.stream_id = stream_id
        self.kind = kind
        self.number = number
        self.fence = fence
