"""Chat that nobody listens to costs no query; whoever begins to listen is heard of soon."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from eventbus.outbox import Transaction
from events import ChatMessageSent, Envelope, SaidAs
from notify.webhooks.intake import NOBODY_LISTENS_SECONDS, SILENT_CHANNELS_MAX, WebhookIntake
from runtime.ids import uuid7


class Asked:
    """Stands for a connection that knows no endpoint, and counts how often it is asked."""

    def __init__(self) -> None:
        self.times = 0

    async def fetch(self, _query: str, *_arguments: object) -> list[Any]:
        self.times += 1
        return []


def said(channel_id: UUID) -> Envelope[ChatMessageSent]:
    now = datetime.now(UTC)
    event = ChatMessageSent(
        channel_id=channel_id, message_id=uuid7(), user_id=uuid7(), username="bob", text="hi", kind=SaidAs.MESSAGE,
        sent_at=now, offset=1, epoch="e", stream_id=None,
    )  # fmt: skip
    return Envelope(id=uuid7(), source="chat", time=now, event=event)


async def test_a_room_that_nobody_listens_to_is_asked_for_once_in_a_while() -> None:
    now, asked = 100.0, Asked()
    intake = WebhookIntake(endpoints_max=10, public_url=None, clock=lambda: now)
    transaction = Transaction(asked, "notify")  # type: ignore[arg-type]  # a twin with the one method that is used
    room, other = uuid7(), uuid7()
    for _ in range(50):
        await intake.on_event(transaction, said(room))
    assert asked.times == 1
    await intake.on_event(transaction, said(other))
    assert asked.times == 2
    now += NOBODY_LISTENS_SECONDS
    await intake.on_event(transaction, said(room))
    assert asked.times == 3


async def test_what_is_remembered_of_silent_rooms_is_bounded() -> None:
    now, asked = 100.0, Asked()
    intake = WebhookIntake(endpoints_max=10, public_url=None, clock=lambda: now)
    transaction = Transaction(asked, "notify")  # type: ignore[arg-type]  # a twin with the one method that is used
    for _ in range(SILENT_CHANNELS_MAX):
        await intake.on_event(transaction, said(uuid7()))
    room = uuid7()
    for _ in range(2):
        await intake.on_event(transaction, said(room))
    assert asked.times == SILENT_CHANNELS_MAX + 2, "there was no room for another one"
    now += NOBODY_LISTENS_SECONDS
    for _ in range(2):
        await intake.on_event(transaction, said(room))
    assert asked.times == SILENT_CHANNELS_MAX + 3
