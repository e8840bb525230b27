"""Which kind of failure an exception is: it decides whether to wait, to try again or to set the message aside."""

from enum import StrEnum

import asyncpg

from eventbus.subscription import Transient, Unprocessable
from runtime.unavailable import is_unavailable


class FailureKind(StrEnum):
    """What a failed attempt means."""

    OUTAGE = "outage"
    """A dependency is away: nothing is wrong with the message; wait for it without limit."""
    TRANSIENT = "transient"
    """May work in a moment."""
    UNKNOWN = "unknown"
    """Nobody foresaw it: a few attempts, then aside."""
    UNPROCESSABLE = "unprocessable"
    """Will never work: aside at once."""


_CONTENTION = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError, asyncpg.LockNotAvailableError)
_FULL = (asyncpg.InsufficientResourcesError, asyncpg.exceptions.ObjectNotInPrerequisiteStateError)
# These are OSErrors too, but no engine coming back will mend them.
_FILES = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError)


def failure_kind(error: Exception) -> FailureKind:
    """The kind of ``error``."""
    if isinstance(error, Unprocessable):
        return FailureKind.UNPROCESSABLE
    if isinstance(error, (Transient, *_CONTENTION)):
        return FailureKind.TRANSIENT
    if isinstance(error, _FILES):
        return FailureKind.UNKNOWN
    if isinstance(error, _FULL) or is_unavailable(error):
        return FailureKind.OUTAGE
    return FailureKind.UNKNOWN
