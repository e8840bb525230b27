"""What can go wrong in chat, drawn as a tree; facts are attributes.

ChatError
├── BrokerUnavailable   what carries the messages is not there now
│   └── SpoolFull       too much of this room waits to be kept for good
├── RoomsUnavailable    what knows the rooms is not there now
├── RoomNotFound        no channel has this id
├── SentTooOften        the sender's allowance in this room is used up for now
└── SentBefore          the room wants no text twice, and has had this one lately
Problem (HTTP, before the upgrade)
├── OriginNotAllowed      403  (runtime/websockets.py)
├── OtherVersion          426
├── TooManyFromAddress    429
└── TooManyConnections    503
"""

from typing import ClassVar
from uuid import UUID

from runtime.problems import Problem, TooManyRequests, Unavailable


class ChatError(Exception):
    """Base of what chat's own parts raise."""


class BrokerUnavailable(ChatError):
    """The broker did not answer. A publish that ends so may still have happened: repeat it with the same id."""


class SpoolFull(BrokerUnavailable):
    """So much of the room waits to be kept for good that it takes nothing more; nothing was published."""


class RoomsUnavailable(ChatError):
    """The rooms' table cannot be read now."""


class RoomNotFound(ChatError):
    """No channel has this id."""

    def __init__(self, room: UUID) -> None:
        super().__init__(f"no room {room}")
        self.room = room


class SentTooOften(ChatError):
    """The sender must wait."""

    def __init__(self, retry_after_seconds: float, allowance_name: str) -> None:
        super().__init__(f"{allowance_name}: retry after {retry_after_seconds:.1f} s")
        self.retry_after_seconds = retry_after_seconds
        self.allowance_name = allowance_name


class SentBefore(ChatError):
    """The same text was published in the room a short while ago."""


class OtherVersion(Problem):
    """The request asks for another version of the WebSocket protocol than the one there is (RFC 6455 section 4.4)."""

    status: ClassVar[int] = 426
    type: ClassVar[str] = "websocket-version-not-supported"
    title: ClassVar[str] = "This WebSocket version is not spoken here"

    def __init__(self) -> None:
        super().__init__("only version 13", headers={"Sec-WebSocket-Version": "13", "Upgrade": "websocket"})


class TooManyFromAddress(TooManyRequests):
    """One address holds as many connections as it may."""

    type: ClassVar[str] = "too-many-connections-from-address"
    title: ClassVar[str] = "Too many connections from this address"


class TooManyConnections(Unavailable):
    """This gateway is full."""

    type: ClassVar[str] = "gateway-full"
    title: ClassVar[str] = "This gateway is full"
