"""Which names people may take, and what those are told who want another."""

import pytest

from accounts.usernames import RESERVED, check_username, folded


@pytest.mark.parametrize("name", ["ann", "Ann_1", "0x2a", "a" * 30, "streamer", "modern_art", "adminton", "all4one"])
def test_names_that_people_may_have(name: str) -> None:
    assert check_username(name) == name.lower()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("ab", "3 to 30 characters, not 2"),
        ("a" * 31, "3 to 30 characters, not 31"),
        ("___", "a letter or a digit"),
        ("ann ann", "character 4 is SPACE (U+0020)"),
        ("ann\n", "U+000A"),
        ("\u0430nn", "character 1 is CYRILLIC SMALL LETTER A (U+0430)"),
        ("ann\u200b", "ZERO WIDTH SPACE"),
        ("\u202eann", "RIGHT-TO-LEFT OVERRIDE"),
        ("ann\u0301", "COMBINING ACUTE ACCENT"),
        ("\uff55ser", "FULLWIDTH LATIN SMALL LETTER U"),
        ("\u212aelvin", "KELVIN SIGN"),  # its lower case is an ASCII k
        ("\ud800nn", "U+D800"),
        ("streams", "a part of our addresses"),
        ("ADMIN", "the name of a role"),
        ("_admin_", "looks like"),
        ("adm1n", "looks like"),
        ("rnoderator", "looks like"),
        ("l1vestream", "looks like"),
        ("LiveStream", "a word of the system"),
        ("deleted", "a word of the system"),
    ],
)
def test_names_that_nobody_may_have(name: str, told: str) -> None:
    with pytest.raises(ValueError, match=r"must|reserved") as refused:
        check_username(name)
    assert told in str(refused.value)


def test_names_that_are_not_ascii_are_not_folded_into_ones_that_are() -> None:
    assert folded("\u212aelvin") != "kelvin"
    assert folded("ANN") == "ann"


def test_every_reserved_word_has_the_form_of_a_name_or_could_not_be_one() -> None:
    assert all(word == word.lower() for words, _ in RESERVED for word in words)
