from collections.abc import Sequence

from chat.fanout import Receiver

def broadcast(members: Sequence[Receiver], blob: bytes, /) -> None: ...
