"""Clips for tests: asking for one and making it, without the API."""

from __future__ import annotations

from uuid import UUID

from archive.clips.cutting import Cutter
from archive.clips.kind import ClipKind
from archive.clips.plan import ClipRange
from archive.clips.store import ClipRequest, ask_for_clip
from archive.ladder.transcode import EncoderBudget
from tests.integration.archive.house import CHANNEL, House


def clip_kind(house: House) -> ClipKind:
    """The kind, with encoders that do not stand back: beside other tests they would get nothing."""
    cutter = Cutter(house.objects, house.runner, EncoderBudget(nice=0), work_directory=house.work)
    return ClipKind(house.pool, house.objects, cutter)


async def asked(
    house: House, original_id: UUID, from_ms: int, to_ms: int, *, exact: bool = False, pending_max: int = 20
) -> UUID:
    """Ask for a clip of a recording of the tests' channel; its id."""
    request = ClipRequest(original_id, CHANNEL, ClipRange(from_ms, to_ms), exact, False, title=None, visibility=None)
    async with house.outbox.transaction() as transaction:
        return await ask_for_clip(transaction.connection, request, key=None, pending_max=pending_max)
