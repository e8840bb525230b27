"""Dead letters: messages that were set aside, with where from and why, and their way back.

A dead letter is the message as it came (key, value, headers) plus headers of ours that begin with ``livestream-dead-``.
Replaying publishes the original again to its topic, marked for the one group that had set it aside; other groups skip
it, and that group's inbox makes a second replay harmless. A replay is noted in the same topic.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from eventbus.bus import EventBus, Headers, Message, Record
from events import DEAD_LETTERS

REPLAY_GROUP = "livestream-replay-group"
"""Header of a replayed message: the only group that it is for."""

_MARK = "livestream-dead-"
_TOPIC, _PARTITION, _OFFSET = _MARK + "topic", _MARK + "partition", _MARK + "offset"
_GROUP, _AT, _DROPPED, _REPLAYED = _MARK + "group", _MARK + "at", _MARK + "value-dropped", _MARK + "replayed"
_ERROR, _ERROR_TEXT, _ATTEMPTS = _MARK + "error", _MARK + "error-text", _MARK + "attempts"
ERROR_CHARACTERS_MAX = 1_000


class NoSuchDeadLetter(LookupError):
    """There is none with this id. ``id`` is what was asked for."""

    def __init__(self, id: str) -> None:  # noqa: A002  it is called so everywhere
        super().__init__(f"no dead letter {id}: `livestream dead-letters list` shows their ids")
        self.id = id


class NotReplayable(ValueError):
    """The dead letter has lost its value (it was too large to be kept); its origin still has it for a while."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message set aside. ``id`` is its partition and offset among the dead letters."""

    id: str
    at: datetime
    group: str
    topic: str
    partition: int
    offset: int
    type: str | None
    event_id: str | None
    error: str
    error_text: str
    attempts: int
    key: bytes | None
    value: bytes | None
    value_dropped: bool
    headers: Headers
    """The original's."""
    replayed_at: datetime | None = None


def dead_letter_record(
    message: Message, *, group: str, error: BaseException, attempts: int, at: datetime, with_value: bool = True
) -> Record:
    """The record that sets ``message`` aside."""
    own = (
        (_TOPIC, message.topic),
        (_PARTITION, str(message.partition)),
        (_OFFSET, str(message.offset)),
        (_GROUP, group),
        (_ERROR, type(error).__qualname__),
        (_ERROR_TEXT, str(error)[:ERROR_CHARACTERS_MAX]),
        (_ATTEMPTS, str(attempts)),
        (_AT, at.isoformat()),
        *(() if with_value else ((_DROPPED, "true"),)),
    )
    headers = (*_original(message.headers), *((name, text.encode()) for name, text in own))
    return Record(DEAD_LETTERS.name, message.key, message.value if with_value else None, headers)


def replay_group(headers: Headers) -> str | None:
    """The group a replayed message is for; None for an ordinary one."""
    return next((value.decode(errors="replace") for name, value in headers if name == REPLAY_GROUP), None)


class DeadLetters:
    """What operators do with dead letters."""

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus

    async def all(self, *, group: str | None = None, topic: str | None = None) -> list[DeadLetter]:
        """Those kept (the topic's retention bounds them), oldest first, optionally of one group or original topic."""
        letters: dict[str, DeadLetter] = {}
        async for entry in self._entries():
            if isinstance(entry, DeadLetter):
                letters[entry.id] = entry
            elif entry[0] in letters:
                letters[entry[0]] = replace(letters[entry[0]], replayed_at=entry[1])
        return [
            letter
            for letter in letters.values()
            if (group is None or letter.group == group) and (topic is None or letter.topic == topic)
        ]

    async def find(self, id: str) -> DeadLetter:  # noqa: A002  it is called so everywhere
        """The dead letter with this id. Raises NoSuchDeadLetter."""
        partition, _, offset = id.partition(":")
        if not (partition.isdecimal() and offset.isdecimal()):
            raise NoSuchDeadLetter(id)
        for letter in await self.all():
            if letter.id == f"{int(partition)}:{int(offset)}":
                return letter
        raise NoSuchDeadLetter(id)

    async def replay(self, letters: Sequence[DeadLetter], *, at: datetime | None = None) -> None:
        """Publish the originals again, each for the group that set it aside, and note it. Raises NotReplayable."""
        for letter in letters:
            if letter.value_dropped:
                raise NotReplayable(
                    f"dead letter {letter.id} was too large to be kept whole;"
                    f" its original is {letter.topic} partition {letter.partition} offset {letter.offset}"
                )
        when = (at or datetime.now(UTC)).isoformat()
        for letter in letters:
            headers = (*_original(letter.headers), (REPLAY_GROUP, letter.group.encode()))
            note = ((_REPLAYED, letter.id.encode()), (_AT, when.encode()))
            await self._bus.publish([Record(letter.topic, letter.key, letter.value, headers)])
            await self._bus.publish([Record(DEAD_LETTERS.name, b"replayed", b"{}", note)])

    async def _entries(self) -> AsyncIterator[DeadLetter | tuple[str, datetime]]:
        """Dead letters, and notes of replays as (id, when)."""
        async for message in self._bus.read(DEAD_LETTERS.name):
            own = {name: value.decode(errors="replace") for name, value in message.headers if name.startswith(_MARK)}
            if _REPLAYED in own:
                yield own[_REPLAYED], datetime.fromisoformat(own[_AT])
            elif _GROUP in own:
                yield _letter(message, own)


def _letter(message: Message, own: dict[str, str]) -> DeadLetter:
    originals = _original(message.headers)
    attributes = {name: value.decode(errors="replace") for name, value in originals}
    return DeadLetter(
        id=f"{message.partition}:{message.offset}",
        at=datetime.fromisoformat(own[_AT]),
        group=own[_GROUP],
        topic=own[_TOPIC],
        partition=int(own[_PARTITION]),
        offset=int(own[_OFFSET]),
        type=attributes.get("ce_type"),
        event_id=attributes.get("ce_id"),
        error=own[_ERROR],
        error_text=own[_ERROR_TEXT],
        attempts=int(own[_ATTEMPTS]),
        key=message.key,
        value=message.value,
        value_dropped=_DROPPED in own,
        headers=originals,
    )


def _original(headers: Headers) -> Headers:
    return tuple((name, value) for name, value in headers if not name.startswith(_MARK) and name != REPLAY_GROUP)
