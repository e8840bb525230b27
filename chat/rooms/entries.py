"""What has an offset in a room's sequence, as the bytes that are stored and published, and what deletions do to it.

An entry's body is a JSON object that begins with its ``kind``; its opening brace gives way to the offset, which only
the broker knows, so that no gateway encodes an entry again. Deletions are entries of the same gapless sequence: whoever
recovers learns of them, and a gateway that reads history applies them (`Redactions`).
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from chat.brokers.broker import Entry

Role = Literal["streamer", "moderator", "subscriber", "viewer"]
SaidKind = Literal["message", "action", "announcement", "system"]

REPLIED_CHARACTERS_MAX: Final = 100


class EntryBody(BaseModel):
    """What all entries share."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class RepliedTo(EntryBody):
    """The message that one answers to, as far as it is shown above the answer."""

    message_id: UUID
    user_id: UUID
    username: str
    text: Annotated[str, Field(description=f"Its first {REPLIED_CHARACTERS_MAX} characters.")]


class EmoteUse(EntryBody):
    """An emote in a text: its image, and where its name stands (characters, first and one past the last)."""

    name: str
    url: str
    places: tuple[tuple[int, int], ...]


class Mention(EntryBody):
    """Somebody who is named in a text."""

    user_id: UUID
    username: str


class Said(EntryBody):
    """Something that is shown with its text: a message, an action (`/me`), an announcement, or what the system says.

    ``username`` is whose doing it is, also of what the system says ("bob follows now").
    """

    kind: SaidKind = "message"
    message_id: UUID
    user_id: UUID
    username: str
    text: str
    sent_at: AwareDatetime
    role: Role = "viewer"
    reply_to: RepliedTo | None = None
    mentions: tuple[Mention, ...] = ()
    emotes: tuple[EmoteUse, ...] = ()
    about: Annotated[str | None, Field(description="What the system speaks of: `follow`.")] = None


class Deleted(EntryBody):
    """One message is gone: show it no more."""

    kind: Literal["deleted"] = "deleted"
    message_id: UUID


class Cleared(EntryBody):
    """All messages before this, or all of one person, are gone."""

    kind: Literal["cleared"] = "cleared"
    user_id: Annotated[UUID | None, Field(description="Whose; null: everybody's.")] = None
    username: str | None = None
    seconds: Annotated[
        int | None, Field(description="How long that person must be silent now; 0: a ban; null: not at all.")
    ] = None
    cleared_at: AwareDatetime


EntryKind = Annotated[Said | Deleted | Cleared, Field(union_mode="left_to_right")]


def to_body(entry: Said | Deleted | Cleared) -> bytes:
    """The bytes to store and publish. What is not said (no reply, no mentions) is left out."""
    return entry.model_dump_json(exclude_defaults=False, exclude=_unsaid(entry)).encode()


def _unsaid(entry: BaseModel) -> set[str]:
    return {name for name, value in entry if value is None or value == ()}


def read_body(body: bytes) -> Said | Deleted | Cleared:
    """An entry from its bytes, with or without its offset; raises pydantic's ValidationError."""
    if body.startswith(_DELETED):
        return Deleted.model_validate_json(body)
    if body.startswith(_CLEARED):
        return Cleared.model_validate_json(body)
    return Said.model_validate_json(body)


def placed(offset: int, body: bytes) -> bytes:
    """A body with its offset put in."""
    return b'{"offset":%d,' % offset + body[1:]


def is_deletion(body: bytes) -> bool:
    """Whether an entry takes others away."""
    return body.startswith((_DELETED, _CLEARED))


def message_body(message_id: UUID, user_id: UUID, username: str, text: str, sent_at: datetime) -> bytes:
    """A plain message of a viewer."""
    return to_body(Said(message_id=message_id, user_id=user_id, username=username, text=text, sent_at=sent_at))


_DELETED: Final = b'{"kind":"deleted"'
_CLEARED: Final = b'{"kind":"cleared"'


@dataclass
class Redactions:
    """What a run of deletions takes away. Made from the deletions themselves, in order."""

    message_ids: set[str] = field(default_factory=set)
    cleared_users: dict[str, int] = field(default_factory=dict)
    """Whose messages are gone, up to which offset."""
    cleared_through: int = -1
    """Everybody's messages are gone up to this offset."""

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> "Redactions":
        """What the deletions among these entries take away."""
        made = cls()
        for entry in entries:
            if is_deletion(entry.body):
                made.add(entry)
        return made

    def __bool__(self) -> bool:
        return bool(self.message_ids or self.cleared_users) or self.cleared_through >= 0

    def add(self, entry: Entry) -> None:
        """Take a deletion in."""
        body = json.loads(entry.body)
        if body["kind"] == "deleted":
            self.message_ids.add(body["message_id"])
        elif body.get("user_id") is None:
            self.cleared_through = max(self.cleared_through, entry.offset)
        else:
            self.cleared_users[body["user_id"]] = max(self.cleared_users.get(body["user_id"], -1), entry.offset)

    def apply(self, entry: Entry) -> Entry:
        """The entry itself, or its tombstone if it is gone. Deletions and tombstones stay."""
        if is_deletion(entry.body):
            return entry
        body = json.loads(entry.body)
        gone = (
            body["message_id"] in self.message_ids
            or entry.offset <= self.cleared_users.get(body["user_id"], -1)
            or entry.offset <= self.cleared_through
        )
        if gone:
            return tombstone(entry.offset, UUID(body["message_id"]))
        return self._without_quote(entry, body) if "reply_to" in body else entry

    def _without_quote(self, entry: Entry, body: dict[str, Any]) -> Entry:
        """An answer outlives what it answers to, whose words it has in front: they go."""
        quoted = body["reply_to"]
        if quoted["message_id"] in self.message_ids or entry.offset <= self.cleared_users.get(quoted["user_id"], -1):
            return Entry(entry.offset, json.dumps({**body, "reply_to": {**quoted, "text": ""}}).encode())
        return entry


def tombstone(offset: int, message_id: UUID) -> Entry:
    """What stands in the place of a message that is gone: it keeps the sequence whole and says nothing."""
    return Entry(offset, to_body(Deleted(message_id=message_id)))


def redacted(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Entries of one run, oldest first, with what the deletions among them take away taken away."""
    redactions = Redactions.of(entries)
    return tuple(redactions.apply(entry) for entry in entries) if redactions else tuple(entries)
