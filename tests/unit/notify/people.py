"""Notices and clients for the tests of the live lane."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from notify.live_client import Following, LiveClient
from notify.live_forms import EventStream, LiveNotice
from notify.notices import Notice, least_notice_id

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
CHANNEL = UUID(int=7)
SINCE_YESTERDAY = Following(START - timedelta(days=1))


def notice(seconds: int, channel_id: UUID = CHANNEL) -> Notice:
    """The notice of a stream that started so many seconds after START."""
    started_at = START + timedelta(seconds=seconds)
    return Notice(
        notification_id=least_notice_id(started_at),
        stream_id=least_notice_id(started_at),
        channel_id=channel_id,
        channel_name="ada",
        title=f"at {seconds}",
        created_at=started_at,
    )


def live(seconds: int) -> LiveNotice:
    return LiveNotice(notice(seconds))


def client(*, floor: UUID | None = None, queue_notices_max: int = 4, user: int = 1) -> LiveClient:
    return LiveClient(
        UUID(int=user),
        floor=floor or least_notice_id(START),
        queue_notices_max=queue_notices_max,
        form=EventStream(),
    )
