"""The last step to the sockets: the same bytes to each of many members, at once and without waiting for anybody.

It is the hot path of a busy room, so its loop is also there in C (`fanout.c`), which is used where it was built. Both
do the same; tests/unit/chat/test_fanout.py holds both.
"""

from collections.abc import Callable, Sequence
from typing import Final, Literal, Protocol


class Receiver(Protocol):
    """Where a room's bytes go; takes whole frames or lines and never blocks."""

    def write(self, frames: bytes, /) -> None:
        """Queue the bytes."""
        ...


Broadcast = Callable[[Sequence[Receiver], bytes], None]


def broadcast_in_python(members: Sequence[Receiver], blob: bytes) -> None:
    """Queue the bytes for each member, one after the other."""
    for member in members:
        member.write(blob)


def broadcast_in_c() -> Broadcast | None:
    """The same in C, or None where it could not be built."""
    try:
        from chat.sockets._fanout import broadcast
    except ImportError:
        return None
    return broadcast


broadcast: Final[Broadcast] = broadcast_in_c() or broadcast_in_python
"""Give the bytes to each member (none of them twice). Nothing is awaited, so keep shards of members small."""

SEND_LOOP: Final[Literal["c", "python"]] = "python" if broadcast is broadcast_in_python else "c"
"""Which of the two is used."""
