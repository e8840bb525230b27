"""Every frame that travels over the live socket, as a model: one JSON object in one text frame (docs/live-socket.md).

Frames are versioned by the ``v`` of the hello. Within a version only optional fields and new frame types are added.
"""

from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from notify.notices import Notice
from runtime.tokens import TOKEN_CHARACTERS_MAX
from runtime.websockets import CloseCodes

VERSION: Final = 1
FRAME_BYTES_MAX: Final = 4_096


class Frame(BaseModel):
    """What all frames share: unknown fields are refused, nothing changes after building."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Hello(Frame):
    """The client's only frame: whose connection it is, and which notice it saw last."""

    type: Literal["hello"]
    v: Literal[1] = 1
    token: Annotated[str, StringConstraints(min_length=1, max_length=TOKEN_CHARACTERS_MAX)]
    last_event_id: UUID | None = None


class Ready(Frame):
    """The connection is let in: what happens from now on is told."""

    type: Literal["ready"] = "ready"
    v: Literal[1] = 1


class NoticeTold(Frame):
    """A notice; ``last_event_id`` is where to come back from, null where that stays as it was."""

    type: Literal["notice"] = "notice"
    last_event_id: UUID | None = Field(description="Null: this one came late, keep the one that you have.")
    notice: Notice


class Gap(Frame):
    """More was missed than is replayed: the rest is in the inbox."""

    type: Literal["gap"] = "gap"
    replayed_max: int


class CloseCode(CloseCodes):
    """Why the gateway closes a connection."""

    DRAINING = 4000, "this gateway is going away"
    TOO_SLOW = 4001, "the client did not read what it was sent"
    UNAVAILABLE = 4002, "notices are not available now"
    OLD = 4003, "come back with a fresh token"
    FULL = 4004, "there are too many connections"
    HELLO_TIMEOUT = 4500, "no hello came in time"
    BAD_FRAME = 4501, "the frame is not a hello"
    NOT_AUTHENTICATED = 4502, "the token lets nobody in"


class BadFrame(ValueError):
    """What came is no hello."""


def read_hello(text: str) -> Hello:
    """The client's frame. Raises BadFrame."""
    try:
        return Hello.model_validate_json(text)
    except ValidationError as error:
        raise BadFrame("it is not a hello of this version") from error
