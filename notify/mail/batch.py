"""A batch of queued mails with all that is needed to write them, read in a few queries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from notify.deliveries.delivery import Delivery, Dropped
from notify.mail import store
from notify.mail.contents import DigestContent
from notify.mail.links import Links
from notify.mail.store import MailedFanout, MailedVerification, Recipient
from notify.mail.templates import Template, typed
from runtime.postgres import Pool

OVER = frozenset({"cancelled", "ended"})
"""States of a fan-out of which nobody is told any more."""
TEMPLATES = {
    "stream.started": Template.STREAM_STARTED,
    "recording.published": Template.RECORDING_PUBLISHED,
}


@dataclass(frozen=True)
class Words:
    """What a template is filled with."""

    template: Template
    values: Mapping[str, object]


@dataclass(frozen=True)
class Batch:
    """What was read."""

    recipients: Mapping[UUID, Recipient]
    fanouts: Mapping[UUID, MailedFanout]
    verifications: Mapping[UUID, MailedVerification]

    def verification_of(self, delivery: Delivery) -> MailedVerification | None:
        """What a mail verifies; None also when that is over."""
        return self.verifications.get(delivery.destination_id) if _template(delivery) == "verification" else None

    def words_for(self, delivery: Delivery, recipient: Recipient, links: Links) -> Words | Dropped:
        """What a notice says, or why it says nothing any more."""
        username = typed(recipient.username or "there")
        match _template(delivery):
            case "digest":
                return self._digest(delivery, username, links)
            case "away":
                return Words(Template.AWAY, {"username": username})
        fanout = self.fanouts.get(delivery.message_id)
        if fanout is None or fanout.kind not in TEMPLATES:
            return Dropped("there is no such notice")
        if fanout.state in OVER:
            return Dropped(f"the fan-out is {fanout.state}")
        return Words(TEMPLATES[fanout.kind], {"notice": notice_values(fanout, links)})

    def _digest(self, delivery: Delivery, username: str, links: Links) -> Words | Dropped:
        content = DigestContent.model_validate(delivery.content)
        shown = [self.fanouts[one] for one in content.notice_ids if one in self.fanouts]
        if not shown:
            return Dropped("there is nothing to tell")
        values = {
            "username": username,
            "unread": content.unread,
            "notices": [notice_values(one, links) for one in shown],
            "more": content.unread - len(content.notice_ids),
        }
        return Words(Template.DIGEST, values)


async def read_batch(pool: Pool, deliveries: Sequence[Delivery]) -> Batch:
    """Three queries at most."""
    verifying = {one.destination_id for one in deliveries if _template(one) == "verification"}
    others = {one.destination_id for one in deliveries} - verifying
    told = {notice for one in deliveries for notice in _notices(one)}
    return Batch(
        recipients=await store.find_recipients(pool, sorted(others)) if others else {},
        fanouts=await store.find_mailed_fanouts(pool, sorted(told)) if told else {},
        verifications=await store.find_mailed_verifications(pool, sorted(verifying)) if verifying else {},
    )


def notice_values(fanout: MailedFanout, links: Links) -> Mapping[str, object]:
    """A notice as templates want it: nothing in it is as somebody typed it."""
    return {
        "channel": typed(fanout.channel_name),
        "title": typed(fanout.title) or "(no title)",
        "category": typed(fanout.category) if fanout.category else None,
        "url": links.watch(fanout.stream_id),
        "is_recording": fanout.kind == "recording.published",
    }


def _template(delivery: Delivery) -> str | None:
    return delivery.content.get("template") if delivery.content else None


def _notices(delivery: Delivery) -> Sequence[UUID]:
    match _template(delivery):
        case "digest":
            return DigestContent.model_validate(delivery.content).notice_ids
        case None:
            return [delivery.message_id]
    return []
