"""Texts as they are compared: without what only looks different. Every step is linear in the text."""

import hashlib
import unicodedata

_LOOKALIKES = str.maketrans(
    {
        # Cyrillic
        "а": "a", "в": "b", "е": "e", "ё": "e", "з": "3", "и": "u", "і": "i", "ї": "i", "ј": "j", "к": "k", "м": "m",
        "н": "h", "о": "o", "р": "p", "с": "c", "ѕ": "s", "т": "t", "у": "y", "х": "x", "һ": "h", "ԁ": "d", "ԛ": "q",
        "ԝ": "w", "ӏ": "l",
        # Greek
        "α": "a", "β": "b", "γ": "y", "ε": "e", "η": "n", "ι": "i", "κ": "k", "μ": "u", "ν": "v", "ο": "o", "ρ": "p",
        "τ": "t", "υ": "u", "χ": "x", "ω": "w",
        # Latin and others
        "ı": "i", "ł": "l", "ø": "o", "đ": "d", "ħ": "h", "ß": "ss", "æ": "ae", "œ": "oe", "ɡ": "g", "ɑ": "a",
        "օ": "o", "ո": "n", "ս": "u", "。": ".",
    }
)  # fmt: skip
_FOR_LETTERS = str.maketrans({"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s"})
_MARKS = range(0x0300, 0x0370)
"""Combining diacritical marks; those of scripts that cannot do without stay."""
_WITHIN_WORDS = frozenset("@$")


def fold(text: str) -> str:
    """The text in one case and one form, without characters that are not seen and with look-alikes replaced."""
    plain = "".join(
        character
        for character in unicodedata.normalize("NFKD", text.casefold())
        if ord(character) not in _MARKS and unicodedata.category(character) != "Cf"
    )
    return unicodedata.normalize("NFKC", plain).casefold().translate(_LOOKALIKES)


def words_of(text: str) -> list[str]:
    """The words of a text, folded. Digits that stand for letters are letters, but not in numbers and the like."""
    spaced = "".join(
        character if character.isalnum() or character in _WITHIN_WORDS else " " for character in fold(text)
    )
    return [word for word in map(_word, spaced.split()) if word]


def digest_of(text: str) -> str:
    """The same for two texts that differ in case, form or white space alone."""
    same = " ".join(unicodedata.normalize("NFKC", text.casefold()).casefold().split())
    return hashlib.sha256(same.encode()).hexdigest()[:32]


def _word(raw: str) -> str:
    named = raw.lstrip("@")  # a mention of somebody
    if any(character.isalpha() for character in named):
        return named.translate(_FOR_LETTERS)
    return "".join(character for character in named if character not in _WITHIN_WORDS)
