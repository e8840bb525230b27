"""What counts as a link: an address with a scheme, `www.`, or a name under a domain that people link to.

Endings that are also words ("so", "it", "me") count only where a path or a port follows, so that a forgotten space
after a full stop is no link. Abbreviations ("e.g.") and numbers ("1.5") are none.
"""

import re
from typing import Final

from chat.moderation.folding import fold

_PIECES: Final = re.compile(r"[^\s,;|()\[\]{}<>\"'!*`]+")
_SCHEMES_ALONE: Final = ("magnet:", "mailto:")
"""Schemes that need no slashes."""
_ALONE: Final = """
ae al ar au ba bd bg biz br ca cc cf ch cl cn com cz de dk edu ee eg es eu fi fm fr ge gg gl gq gr hk hr hu icu il
io ir jp ke kr kz li lt lu lv ly md mk ml moe mx net ng nl nz org pe ph pk pl pt ro rs ru sa se sg si sk su th tk tr
tv tw ua uk vn ws xyz za
"""
_ENDINGS: Final = frozenset(_ALONE.split())
"""Endings that no word of a sentence has; any other counts with a path or a port behind it."""
_LABEL_CHARACTERS_MAX: Final = 63


def has_link(text: str) -> bool:
    """Whether there is a link in a text."""
    return any(map(_is_link, _PIECES.findall(fold(text))))


def _is_link(piece: str) -> bool:
    before, scheme_mark, after = piece.partition("://")
    if scheme_mark and after and before[-1:].isalnum():
        return True
    if piece.startswith(_SCHEMES_ALONE):
        return True
    rest = piece.rpartition("@")[2].lstrip("./:-_~")
    host, mark = _host(rest)
    labels = host.rstrip(".").split(".")
    if len(labels) < 2 or not all(map(_is_label, labels)):
        return False
    if labels[0] == "www":
        return True
    ending = labels[-1]
    if mark and (_is_address(labels) or (ending.isalpha() and len(ending) > 1)):
        return True
    if ending.startswith("xn--"):
        return True
    return ending in _ENDINGS


def _host(piece: str) -> tuple[str, bool]:
    """What may be a name, and whether a path, a query or a port follows it."""
    for index, character in enumerate(piece):
        if character in "/?#":
            return piece[:index], character == "/" or len(piece) > index + 1
        if character == ":":
            return piece[:index], piece[index + 1 : index + 2].isdigit()
    return piece, False


def _is_label(label: str) -> bool:
    return (
        0 < len(label) <= _LABEL_CHARACTERS_MAX
        and label[0] != "-"
        and label[-1] != "-"
        and all(character.isalnum() or character in "-_" for character in label)
    )


def _is_address(labels: list[str]) -> bool:
    return len(labels) == 4 and all(label.isascii() and label.isdigit() and int(label) < 256 for label in labels)
