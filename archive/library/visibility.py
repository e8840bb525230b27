"""Who sees a recording and who may change it; every endpoint of the archive asks here.

The owner is the streamer of the recording's channel: a channel has its streamer's id. What a caller may not see does
not exist for that caller (404); what a caller sees and may not change is refused as such (403).
"""

from __future__ import annotations

from uuid import UUID

from archive.problems import NotYourRecording, RecordingIsDeleted, RecordingNotFound
from archive.store import Recording, Recordings
from runtime.problems import Problem
from runtime.tokens import Caller

OWNERS_ALONE: tuple[type[Problem], ...] = (RecordingNotFound, NotYourRecording, RecordingIsDeleted)
"""What `owned_by` raises, for an endpoint's declaration."""


async def seen_by(recordings: Recordings, stream_id: UUID, caller: Caller | None) -> Recording:
    """The recording, if ``caller`` (None: anybody) may see it. Raises RecordingNotFound."""
    recording = await recordings.find(stream_id)
    if recording is None or not is_seen_by(recording, caller):
        raise RecordingNotFound(f"no recording {stream_id}")
    return recording


async def owned_by(recordings: Recordings, stream_id: UUID, caller: Caller, *, also_deleted: bool = False) -> Recording:
    """The recording, if it is the caller's own and has not been deleted (unless that makes no difference).

    Raises RecordingNotFound, NotYourRecording, RecordingIsDeleted.
    """
    recording = await seen_by(recordings, stream_id, caller)
    if not is_owner(recording, caller):
        raise NotYourRecording("only the streamer of its channel may do this")
    if recording.deleted_at is not None and not also_deleted:
        raise RecordingIsDeleted("it has been deleted; restore it first")
    return recording


def is_seen_by(recording: Recording, caller: Caller | None) -> bool:
    """Whether it exists for ``caller``: the owner sees all but what is purged, others what is there and not private."""
    if recording.purged_at is not None:
        return False
    if is_owner(recording, caller):
        return True
    return recording.deleted_at is None and recording.visibility != "private"


def is_owner(recording: Recording, caller: Caller | None) -> bool:
    """Whether it is the caller's."""
    return caller is not None and caller.user_id == recording.channel_id
