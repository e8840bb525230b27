"""What people may write about a stream or a channel, and the limits of it."""

import re
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from pydantic import AfterValidator, AwareDatetime, Field, StringConstraints

TITLE_CHARACTERS_MAX: Final = 140
CATEGORY_CHARACTERS_MAX: Final = 50
DESCRIPTION_CHARACTERS_MAX: Final = 2_000
REASON_CHARACTERS_MAX: Final = 500
TAG_CHARACTERS_MAX: Final = 25
TAGS_MAX: Final = 10
LANGUAGE_CHARACTERS_MAX: Final = 35
"""What RFC 5646 §4.4.1 asks everybody to have room for."""
AHEAD_MAX: Final = timedelta(days=366)

# RFC 5646 §2.1 without extensions, private use and grandfathered tags: a language, script, region and variants.
_LANGUAGE: Final = re.compile(
    r"[a-z]{2,3}(-[a-z]{3}){0,3}(-[a-z]{4})?(-(?:[a-z]{2}|[0-9]{3}))?(-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*",
    re.IGNORECASE | re.ASCII,
)
_SCRIPT_CHARACTERS: Final = 4
_REGION_CHARACTERS: Final = 2


def _normal_tag(tag: str) -> str:
    normal = " ".join(unicodedata.normalize("NFKC", tag).casefold().split()).lstrip("#").strip()
    if not 1 <= len(normal) <= TAG_CHARACTERS_MAX:
        raise ValueError(f"a tag has 1 to {TAG_CHARACTERS_MAX} characters")
    if not normal.isprintable():
        raise ValueError("a tag has only characters that can be seen")
    return normal


def _each_once(tags: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tags))


def _normal_language(language: str) -> str:
    """The tag in the customary case (RFC 5646 §2.1.1): `en-Latn-GB`."""
    if _LANGUAGE.fullmatch(language) is None:
        raise ValueError("a language is a BCP 47 tag, such as en or pt-BR")
    first, *others = language.lower().split("-")
    return "-".join([first, *(_cased(part) for part in others)])


def _cased(part: str) -> str:
    if len(part) == _REGION_CHARACTERS:
        return part.upper()
    return part.title() if len(part) == _SCRIPT_CHARACTERS and part.isalpha() else part


def _ahead(moment: datetime) -> datetime:
    now = datetime.now(UTC)
    if not now < moment <= now + AHEAD_MAX:
        raise ValueError(f"a stream is scheduled for the future, and for at most {AHEAD_MAX.days} days ahead")
    return moment


Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=TITLE_CHARACTERS_MAX)]
Category = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=CATEGORY_CHARACTERS_MAX)]
Description = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=DESCRIPTION_CHARACTERS_MAX)
]
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=REASON_CHARACTERS_MAX)]
Tag = Annotated[str, StringConstraints(max_length=4 * TAG_CHARACTERS_MAX), AfterValidator(_normal_tag)]
"""Compared without case: kept in small letters, with one space where there were several."""
Tags = Annotated[tuple[Tag, ...], Field(max_length=TAGS_MAX), AfterValidator(_each_once)]
Language = Annotated[str, StringConstraints(max_length=LANGUAGE_CHARACTERS_MAX), AfterValidator(_normal_language)]
ScheduledAt = Annotated[AwareDatetime, AfterValidator(_ahead)]
