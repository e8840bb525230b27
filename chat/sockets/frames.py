"""Every frame that travels over the chat socket, both ways, as a model; one JSON object in one text frame.

Frames are versioned by the ``v`` of the join. Within a version only optional fields and new server frame types are
added, so a client ignores what it does not know; the gateway refuses what *it* does not know, since a mistyped field
of a client would otherwise be silently without effect.
"""

from collections.abc import Iterable, Sequence, Set
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from chat.brokers.broker import Entry, Position
from chat.rooms.entries import Cleared, Deleted, Role, Said, placed
from chat.rooms.facts import PollView
from chat.speaking.rules import Rules
from runtime.websockets import text_frame

VERSION: Final = 1
TEXT_CHARACTERS_MAX: Final = 500
CLIENT_ID_CHARACTERS_MAX: Final = 64
TOKEN_CHARACTERS_MAX: Final = 3_000
EPOCH_CHARACTERS_MAX: Final = 32

Epoch = Annotated[str, StringConstraints(max_length=EPOCH_CHARACTERS_MAX)]
Offset = Annotated[int, Field(ge=0, lt=2**53, description="Position of a message in its room; counts up by one.")]


class Frame(BaseModel):
    """What all frames share: unknown fields are refused, nothing changes after building."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# ------------------------------------------------------------------------------------------- from the client


class Since(Frame):
    """The last position a client has seen: the offset of its last message and the epoch it came with."""

    offset: Offset
    epoch: Epoch


class Join(Frame):
    """The first frame: which room, as whom (a null token reads only), and from where on."""

    type: Literal["join"]
    v: Literal[1] = 1
    room: UUID
    token: Annotated[str, StringConstraints(min_length=1, max_length=TOKEN_CHARACTERS_MAX)] | None = None
    since: Since | None = None


class Send(Frame):
    """Says something in the joined room. The id is the client's own: the same id again is the same message."""

    type: Literal["send"]
    id: Annotated[str, StringConstraints(pattern=rf"^[A-Za-z0-9_.:-]{{1,{CLIENT_ID_CHARACTERS_MAX}}}$")]
    text: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=TEXT_CHARACTERS_MAX),
        Field(description="At most 500 characters, none of them a control character; shown as plain text."),
    ]
    kind: Annotated[
        Literal["message", "action", "announcement"],
        Field(description="`action` is `/me`; an `announcement` is for moderators."),
    ] = "message"
    reply_to: Annotated[UUID | None, Field(description="The `message_id` that this answers to.")] = None


ClientFrame = Annotated[Join | Send, Field(discriminator="type")]


# ------------------------------------------------------------------------------------------- from the gateway


class PlacedSaid(Said):
    """Something said, at its offset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    offset: Offset


class PlacedDeleted(Deleted):
    """A message is gone; or, in its own place in a history, it was."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    offset: Offset


class PlacedCleared(Cleared):
    """All messages before this, or all of one person, are gone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    offset: Offset


PlacedEntry = Annotated[PlacedSaid | PlacedDeleted | PlacedCleared, Field(discriminator="kind")]
"""What has an offset. Clients pass over kinds that they do not know, and keep the offset."""


class StandingView(Frame):
    """What one may do in this room oneself."""

    role: Role
    banned: bool = False
    silent_until: AwareDatetime | None = None
    followed_at: AwareDatetime | None = None


class Joined(Frame):
    """The answer to a join. ``history`` and the live messages that follow join without a hole or a double.

    With ``recovered`` true, ``history`` is exactly what was missed after ``since``; otherwise it is the newest
    messages, and something between ``since`` and them may be missing.
    """

    type: Literal["joined"] = "joined"
    v: Literal[1] = 1
    room: UUID
    channel_name: str
    live_stream_id: UUID | None
    you: UUID | None
    offset: Offset
    epoch: Epoch
    recovered: bool
    chatters: int
    rules: Rules
    pinned: Said | None
    poll: PollView | None
    standing: Annotated[StandingView | None, Field(description="Null for readers, and while it cannot be looked up.")]
    history: tuple[PlacedEntry, ...]


class Messages(Frame):
    """New messages, in order. The last one's offset and this epoch are the client's new position."""

    type: Literal["messages"] = "messages"
    epoch: Epoch
    messages: tuple[PlacedEntry, ...]


class Gap(Frame):
    """Messages may have been lost between the client's position and this one; ``history`` is the newest there are."""

    type: Literal["gap"] = "gap"
    offset: Offset
    epoch: Epoch
    history: tuple[PlacedEntry, ...]


class Accepted(Frame):
    """The message with the client's ``id`` is in the room, at ``offset`` of ``epoch``."""

    type: Literal["accepted"] = "accepted"
    id: str
    offset: Offset
    epoch: Epoch


ErrorCode = Literal[
    "bad-frame",
    "unsupported-version",
    "not-joined",
    "already-joined",
    "not-authenticated",
    "read-only",
    "room-not-found",
    "rate-limited",
    "too-many-connections",
    "unavailable",
    "banned",
    "timed-out",
    "slow-mode",
    "followers-only",
    "subscribers-only",
    "moderators-only",
    "account-too-young",
    "emote-only",
    "links-not-allowed",
    "said-before",
    "too-long",
    "blocked-term",
    "held",
    "reply-not-found",
]


class ErrorFrame(Frame):
    """A frame of the client was refused; the connection goes on. ``id`` is that of the refused send."""

    type: Literal["error"] = "error"
    code: ErrorCode
    detail: str
    id: str | None = None
    retry_after_seconds: int | None = None


class Status(Frame):
    """Whether messages flow now. While they do not, the connection stays and sends are refused."""

    type: Literal["status"] = "status"
    chat: Literal["available", "unavailable"]


class RoomChanged(Frame):
    """The room's stream started or ended."""

    type: Literal["room"] = "room"
    live_stream_id: UUID | None


class Presence(Frame):
    """How many connections the room has over all gateways, about every five seconds while it changes."""

    type: Literal["presence"] = "presence"
    chatters: int


class RulesChanged(Frame):
    """The room's rules are these now."""

    type: Literal["rules"] = "rules"
    rules: Rules


class PinChanged(Frame):
    """This message is pinned above the others now, or none."""

    type: Literal["pinned"] = "pinned"
    message: Said | None


class PollChanged(Frame):
    """The running poll, with its votes so far; once more when it has ended; null when there is none."""

    type: Literal["poll"] = "poll"
    poll: PollView | None


class StandingChanged(Frame):
    """What one may do oneself changed."""

    type: Literal["standing"] = "standing"
    standing: StandingView


class HeldChanged(Frame):
    """To moderators: messages wait for them, or one was decided. `GET /api/chat/{channel_id}/held` has them."""

    type: Literal["held"] = "held"


ServerFrameType = (
    Joined
    | Messages
    | Gap
    | Accepted
    | ErrorFrame
    | Status
    | RoomChanged
    | Presence
    | RulesChanged
    | PinChanged
    | PollChanged
    | StandingChanged
    | HeldChanged
)
ServerFrame = Annotated[ServerFrameType, Field(discriminator="type")]

CLIENT_FRAMES: tuple[type[Frame], ...] = (Join, Send)
SERVER_FRAMES: tuple[type[Frame], ...] = ServerFrameType.__args__

_CLIENT: TypeAdapter[Join | Send] = TypeAdapter(ClientFrame)
SERVER_FRAME: TypeAdapter[ServerFrameType] = TypeAdapter(ServerFrame)


class BadFrame(ValueError):
    """A client's frame cannot be taken. ``code`` is for programs, the text (names of fields, no values) for people."""

    def __init__(self, code: ErrorCode, detail: str) -> None:
        super().__init__(detail)
        self.code: ErrorCode = code
        self.detail = detail


def read_client_frame(text: str) -> Join | Send:
    """Parse one text frame of a client.

    Raises:
        BadFrame: it is not JSON, not a known frame, of another version, or a field is wrong, unknown or missing.
    """
    try:
        frame = _CLIENT.validate_json(text)
    except ValidationError as error:
        raise _bad_frame(error) from None
    if isinstance(frame, Send) and not printable(frame.text):
        raise BadFrame("bad-frame", "text: control characters are not allowed")
    return frame


def printable(text: str) -> bool:
    """Whether a text has no control characters."""
    return text.isprintable() or not any(character < " " or "\x7f" <= character <= "\x9f" for character in text)


def one_line(text: str) -> str:
    """The text itself, for fields of other models; raises ValueError."""
    if not printable(text):
        raise ValueError("control characters are not allowed")
    return text


def _bad_frame(error: ValidationError) -> BadFrame:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("join", "send"))
    if first["loc"][-1:] == ("v",):
        return BadFrame("unsupported-version", f"v: this gateway speaks version {VERSION}")
    detail = f"{where}: {first['msg']}" if where else first["msg"]
    return BadFrame("bad-frame", detail[:300])


# ------------------------------------------------------------------------------------------- to bytes


def to_bytes(frame: Frame) -> bytes:
    """A server frame as WebSocket bytes."""
    return text_frame(frame.model_dump_json(exclude_none=isinstance(frame, ErrorFrame)).encode())


def messages_frame(epoch: str, messages: Iterable[bytes]) -> bytes:
    """A `Messages` frame from messages that already have their offsets."""
    return text_frame(b'{"type":"messages","epoch":"%s","messages":[%s]}' % (epoch.encode(), b",".join(messages)))


def joined_frame(joined: Joined, history: Iterable[bytes]) -> bytes:
    """A `Joined` frame whose history is spliced in from stored bytes; ``joined.history`` itself stays empty."""
    head = joined.model_dump_json(exclude={"history"}).encode()
    return text_frame(head[:-1] + b',"history":[%s]}' % b",".join(history))


class ChatFrames:
    """The encoding of the chat socket: an `audience.Encoding`."""

    hides_own = False

    def messages(self, epoch: str, entries: Sequence[Entry], leave_out: Set[UUID] = frozenset()) -> bytes:
        """One `Messages` frame. Nobody is left out: who speaks sees it come back at its offset."""
        return messages_frame(epoch, [placed(entry.offset, entry.body) for entry in entries])

    def gap(self, position: Position, newest: Sequence[Entry]) -> bytes:
        """A `Gap` frame."""
        history = b",".join(placed(entry.offset, entry.body) for entry in newest)
        return text_frame(
            b'{"type":"gap","offset":%d,"epoch":"%s","history":[%s]}'
            % (position.offset, position.epoch.encode(), history)
        )

    def notice(self, notice: Frame) -> bytes:
        """Any other frame."""
        return to_bytes(notice)


CHAT_FRAMES: Final = ChatFrames()
"""One object for all rooms: encodings are told apart by identity."""
