"""Why the IRC door ends a connection: the word in the last line, and the close code where there is a WebSocket."""

from dataclasses import dataclass
from typing import Final

from chat.sockets.closecodes import CloseCode


@dataclass(frozen=True, slots=True)
class Ending:
    """One reason."""

    code: int
    reason: str


def ending_of(code: CloseCode) -> Ending:
    """A reason that the chat socket has, too."""
    return Ending(code, code.reason)


QUIT: Final = Ending(1000, "you left")
DRAINING: Final = ending_of(CloseCode.DRAINING)
TOO_SLOW: Final = ending_of(CloseCode.TOO_SLOW)
TOO_MANY_OF_USER: Final = ending_of(CloseCode.TOO_MANY_OF_USER)
UNAVAILABLE: Final = ending_of(CloseCode.UNAVAILABLE)
SILENT: Final = Ending(4002, "you did not answer a PING")
LOGIN_TIMEOUT: Final = Ending(CloseCode.JOIN_TIMEOUT, "you did not log in in time")
LOGIN_REFUSED: Final = Ending(CloseCode.TOO_MANY_BAD_FRAMES, "the login was refused")
PASSWORD_GONE: Final = Ending(CloseCode.TOO_MANY_BAD_FRAMES, "the password was deleted")
TOO_MANY_LINES: Final = Ending(CloseCode.TOO_MANY_FRAMES, "too many lines in too short a time")
