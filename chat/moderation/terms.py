"""Blocked terms: which term of a room's list is in a text. Plain searches in the folded text, so time is bounded.

A term is one or more words, found as whole words in this order; a `*` at its beginning or end stands for the rest of a
word. Nothing else is special in it.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from chat.moderation.folding import words_of
from chat.rooms.facts import BlockedTerm

TERMS_MAX: Final = 500
TERM_CHARACTERS_MAX: Final = 100
ROOMS_KEPT_MAX: Final = 2_000


class TermNotUsable(ValueError):
    """A term that could never be found, or means something else than it seems."""


def normal_term(term: str) -> str:
    """A term as it is compared; raises TermNotUsable."""
    stripped = term.strip()
    before, after = stripped.startswith("*"), stripped.endswith("*") and len(stripped) > 1
    inner = stripped.strip("*")
    if "*" in inner:
        raise TermNotUsable("a * stands at the beginning or the end of a term, not inside it")
    words = words_of(inner)
    if not words:
        raise TermNotUsable("a term needs at least one letter or digit")
    normal = f"{'*' if before else ''}{' '.join(words)}{'*' if after else ''}"
    if len(normal) > TERM_CHARACTERS_MAX:
        raise TermNotUsable(f"a term has at most {TERM_CHARACTERS_MAX} characters")
    return normal


@dataclass(frozen=True, slots=True)
class Terms:
    """A room's terms, ready to be looked for: each with what is searched in `` word word word ``."""

    refused: tuple[tuple[str, str], ...]
    held: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, blocked: Sequence[BlockedTerm]) -> "Terms":
        """Make terms ready that `normal_term` takes."""
        return cls(
            refused=tuple((_wanted(one.term), one.term) for one in blocked if not one.hold),
            held=tuple((_wanted(one.term), one.term) for one in blocked if one.hold),
        )

    def find(self, text: str) -> BlockedTerm | None:
        """A term that is in the text; one that refuses it before one that holds it."""
        spaced = f" {' '.join(words_of(text))} "
        for terms, hold in ((self.refused, False), (self.held, True)):
            for wanted, term in terms:
                if wanted in spaced:
                    return BlockedTerm(term, hold)
        return None


class TermsOfRooms:
    """Keeps what was made ready for as long as a room's list is the same."""

    def __init__(self) -> None:
        self._kept: OrderedDict[UUID, tuple[Sequence[BlockedTerm], Terms]] = OrderedDict()

    def of(self, channel_id: UUID, blocked: Sequence[BlockedTerm]) -> Terms:
        """A room's terms."""
        kept = self._kept.get(channel_id)
        if kept is None or kept[0] is not blocked:
            # Facts are read anew for any change of the room; most of them leave its terms as they were.
            same = kept is not None and kept[0] == blocked
            kept = self._kept[channel_id] = (blocked, kept[1] if kept is not None and same else Terms.of(blocked))
            if len(self._kept) > ROOMS_KEPT_MAX:
                self._kept.popitem(last=False)
        self._kept.move_to_end(channel_id)
        return kept[1]


def _wanted(term: str) -> str:
    normal = normal_term(term)
    return f"{'' if normal.startswith('*') else ' '}{normal.strip('*')}{'' if normal.endswith('*') else ' '}"
