"""Keyset pages: an opaque cursor says where the next page begins, so no list is read by OFFSET."""

import base64
import binascii
import json
from datetime import UTC, datetime
from typing import Any, TypeVar, overload
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from runtime.problems import InvalidRequest

CursorPart = str | int | UUID | datetime
A = TypeVar("A", bound=CursorPart)
B = TypeVar("B", bound=CursorPart)
C = TypeVar("C", bound=CursorPart)

PAGE_ITEMS_MAX = 100
CURSOR_CHARACTERS_MAX = 512


class InvalidCursor(InvalidRequest):
    """The cursor was not one of ours (or belongs to another list)."""

    status = 400
    type = "invalid-cursor"
    title = "The cursor is not valid"


class PageQuery(BaseModel):
    """The query of every list: how many items, and from where."""

    model_config = ConfigDict(frozen=True)

    limit: int = Field(default=50, ge=1, le=PAGE_ITEMS_MAX, description="Items in a page.")
    cursor: str | None = Field(
        default=None, max_length=CURSOR_CHARACTERS_MAX, description="`next_cursor` of the page before; opaque."
    )


def encode_cursor(*parts: CursorPart) -> str:
    """The cursor that stands after an item whose sort key is `parts`."""
    text = json.dumps([part.isoformat() if isinstance(part, datetime) else str(part) for part in parts])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@overload
def decode_cursor(text: str, a: type[A], /) -> tuple[A]: ...
@overload
def decode_cursor(text: str, a: type[A], b: type[B], /) -> tuple[A, B]: ...
@overload
def decode_cursor(text: str, a: type[A], b: type[B], c: type[C], /) -> tuple[A, B, C]: ...
def decode_cursor(text: str, /, *types: type[Any]) -> tuple[Any, ...]:
    """The parts that `encode_cursor` was given, as `types`; raises InvalidCursor (400) for anything else."""
    if len(text) > CURSOR_CHARACTERS_MAX:
        raise InvalidCursor(f"a cursor has at most {CURSOR_CHARACTERS_MAX} characters")
    try:
        decoded = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        if not isinstance(decoded, list) or not all(isinstance(part, str) for part in decoded):
            raise InvalidCursor("the cursor was not issued here")
        return tuple(_part(part, kind) for part, kind in zip(decoded, types, strict=True))
    except (binascii.Error, ValueError, RecursionError, OverflowError) as error:
        raise InvalidCursor("the cursor was not issued by this list") from error


def _part(text: str, kind: type[Any]) -> CursorPart:
    if issubclass(kind, datetime):
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError("a moment without a zone")
        return moment.astimezone(UTC)  # an OverflowError for a moment that no calendar has, nor Postgres
    if "\x00" in text:  # Postgres has no such character in text
        raise ValueError("a NUL character")
    text.encode()  # a ValueError for half of a surrogate pair, which is no character
    number_or_text: str | int | UUID = kind(text)
    if isinstance(number_or_text, int) and not -(2**63) <= number_or_text < 2**63:
        raise ValueError("a number beyond 64 bits")
    return number_or_text
