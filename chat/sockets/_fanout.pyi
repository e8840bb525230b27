from collections.abc import Sequence

from chat.sockets.fanout import Receiver

def broadcast(members: Sequence[Receiver], blob: bytes, /) -> None: ...
