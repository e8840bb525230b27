"""Lines of IRC, read and written: message tags, prefix, command and parameters.

RFC 1459 section 2.3, RFC 2812 section 2.3, and IRCv3 message tags. Nothing that is written here can end a line early:
whatever a parameter holds, CR, LF and NUL become blanks, and what would be taken for the next parameter does not fit
into a middle one.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

SERVER_NAME: Final = "tmi.twitch.tv"
"""Clients written for Twitch tell the server's lines from others by this very prefix."""

LINE_BYTES_MAX: Final = 2_560
"""Of what follows the tags: 500 characters of up to four bytes, and the command before them."""
TAGS_BYTES_MAX: Final = 4_096
"""Of a client's tags, from the @ to the blank (IRCv3)."""
PARAMETERS_MAX: Final = 15
TAGS_MAX: Final = 64

_ESCAPES: Final = {";": "\\:", " ": "\\s", "\\": "\\\\", "\r": "\\r", "\n": "\\n", "\0": "\\s"}
_UNESCAPES: Final = {":": ";", "s": " ", "\\": "\\", "r": "\r", "n": "\n"}
_TO_ESCAPE: Final = re.compile(r"[; \\\r\n\0]")
_ESCAPED: Final = re.compile(r"\\(.?)", re.DOTALL)
_COMMAND: Final = re.compile(r"[A-Za-z]+|[0-9]{3}")
_BREAKS: Final = re.compile(r"[\r\n\0]")
_BREAKS_OR_BLANK: Final = re.compile(r"[\r\n\0 ]")


class BadLine(ValueError):
    """A client's line cannot be taken; the text says why."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a client. ``command`` is in capitals."""

    command: str
    params: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    def param(self, index: int) -> str:
        """A parameter, or "" if there are not so many."""
        return self.params[index] if index < len(self.params) else ""


def read_line(raw: bytes) -> Line | None:
    """A client's line without its end; None for an empty one.

    Raises:
        BadLine: it is too long, not UTF-8, or has no command.
    """
    if len(raw) > TAGS_BYTES_MAX + LINE_BYTES_MAX:
        raise BadLine("the line is too long")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise BadLine("the line is not UTF-8") from None
    text = _BREAKS.sub(" ", text).strip(" ")
    if not text:
        return None
    tags: Mapping[str, str] = {}
    if text.startswith("@"):
        head, _, text = text.partition(" ")
        if len(head.encode()) > TAGS_BYTES_MAX:
            raise BadLine("the tags are too long")
        tags = _read_tags(head[1:])
        text = text.lstrip(" ")
    if len(text.encode()) > LINE_BYTES_MAX:
        raise BadLine("the line is too long")
    if text.startswith(":"):  # who it is from, which a client has no say in
        text = text.partition(" ")[2].lstrip(" ")
    command, _, rest = text.partition(" ")
    if not _COMMAND.fullmatch(command):
        raise BadLine("there is no command in the line")
    return Line(command.upper(), tuple(_read_params(rest)), tags)


def _read_params(text: str) -> Iterator[str]:
    for _ in range(PARAMETERS_MAX - 1):
        text = text.lstrip(" ")
        if not text:
            return
        if text.startswith(":"):
            yield text[1:]
            return
        param, _, text = text.partition(" ")
        yield param
    text = text.lstrip(" ")
    if text:
        yield text.removeprefix(":")


def _read_tags(text: str) -> Mapping[str, str]:
    pairs = (part.partition("=") for part in text.split(";", TAGS_MAX)[:TAGS_MAX])
    return {name: _unescaped(value) for name, _, value in pairs if name}


def _unescaped(value: str) -> str:
    return _ESCAPED.sub(lambda found: _UNESCAPES.get(found[1], found[1]), value)


def escaped(value: str) -> str:
    """A tag's value as it is written."""
    return _TO_ESCAPE.sub(lambda found: _ESCAPES[found[0]], value)


def line(
    command: str,
    *params: str,
    text: str | None = None,
    prefix: str | None = SERVER_NAME,
    tags: Sequence[tuple[str, str]] = (),
) -> bytes:
    """A line with its end. ``params`` are middle ones, ``text`` is the last one, in which blanks may be.

    ``prefix`` None leaves it out. Tags without a value are written as Twitch writes them: ``name=``.
    """
    parts = []
    if tags:
        parts.append("@" + ";".join(f"{_middle(name)}={escaped(value)}" for name, value in tags))
    if prefix is not None:
        parts.append(":" + _middle(prefix))
    parts.append(command)
    parts.extend(_middle(param) for param in params)
    if text is not None:
        parts.append(":" + _BREAKS.sub(" ", text))
    return " ".join(parts).encode(errors="replace") + b"\r\n"


def _middle(param: str) -> str:
    cleaned = _BREAKS_OR_BLANK.sub("_", param)
    return "_" + cleaned[1:] if cleaned.startswith(":") else cleaned or "*"


def user_prefix(name: str) -> str:
    """Who a line is from."""
    return f"{name}!{name}@{name}.{SERVER_NAME}"
