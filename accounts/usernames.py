"""Which usernames people may take: their form, and the words that are nobody's.

A name is 3 to 30 of a–z, 0–9 and _, capitals folded, so two names that look alike by their alphabet cannot both exist.
What is left to tricks are digits and underscores that stand for letters; names that read like a word of authority are
refused with it.
"""

import re
import unicodedata
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

CHARACTERS_MIN = 3
CHARACTERS_MAX = 30

_ROUTES = """
    about api archives auth categories channels chat clips docs follows health help hls hooks internal live login logout
    metrics notifications recordings register search settings static stats streams users webhooks www
"""
_ROLES = """
    abuse admin administrator mod moderator operator owner postmaster root security staff superuser support sysadmin
    webmaster
"""
_SYSTEM = """
    all anonymous bot chatbot deleted deleted_user everyone guest here livestream nobody none null official server
    service system undefined unknown
"""

RESERVED: tuple[tuple[frozenset[str], str], ...] = (
    # They are parts of addresses: a page of a person's name must never hide one of ours, now or later.
    (frozenset(_ROUTES.split()), "it is a part of our addresses"),
    # Who is called so is believed to have a say in the house, and asked for passwords by nobody.
    (frozenset(_ROLES.split()), "it is the name of a role"),
    # Our own voice, whom a message meant for many is for, and what stands where a person is missing.
    (frozenset(_SYSTEM.split()), "it is a word of the system"),
)

_LOOKS_LIKE = str.maketrans("0134578l", "oieastbi")
_FORM = re.compile(rf"[a-z0-9_]{{{CHARACTERS_MIN},{CHARACTERS_MAX}}}")


def folded(name: str) -> str:
    """The name as it is stored and compared."""
    return name.lower() if name.isascii() else name


def check_username(name: str) -> str:
    """The folded name; raises ValueError that says which rule it breaks."""
    strange = next((place for place, one in enumerate(name) if not _is_allowed(one)), None)
    if strange is not None:
        known = unicodedata.name(name[strange], "a character without a name")
        raise ValueError(
            f"must be made of a-z, 0-9 and _ only; character {strange + 1} is {known} (U+{ord(name[strange]):04X})"
        )
    if not CHARACTERS_MIN <= len(name) <= CHARACTERS_MAX:
        raise ValueError(f"must have {CHARACTERS_MIN} to {CHARACTERS_MAX} characters, not {len(name)}")
    if not name.strip("_"):
        raise ValueError("must have a letter or a digit")
    if reason := reserved_because(folded(name)):
        raise ValueError(f"is reserved: {reason}")
    return folded(name)


def reserved_because(name: str) -> str | None:
    """Why nobody may take a folded name, if nobody may."""
    routes, *impersonated = RESERVED
    if name in routes[0]:
        return routes[1]
    seen = _skeleton(name)
    for words, reason in impersonated:
        if name in words:
            return reason
        if seen in {_skeleton(word) for word in words}:
            return f"it looks like one that is not given away ({reason})"
    return None


def _is_allowed(character: str) -> bool:
    return character.isascii() and (character.isalnum() or character == "_")


def _skeleton(name: str) -> str:
    """What a hasty reader sees: digits as letters, pairs that run together, no underscores."""
    return name.replace("_", "").translate(_LOOKS_LIKE).replace("rn", "m").replace("vv", "w")


Username = Annotated[
    str,
    AfterValidator(check_username),
    WithJsonSchema({"type": "string", "pattern": rf"^[A-Za-z0-9_]{{{CHARACTERS_MIN},{CHARACTERS_MAX}}}$"}),
]
"""A name that somebody wants to have."""
