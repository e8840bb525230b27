"""Blocked terms and links: what is found, what is not, and that no text or list takes long."""

import random
import string
import time

import pytest

from chat.moderation.links import has_link
from chat.moderation.terms import TERM_CHARACTERS_MAX, TERMS_MAX, TermNotUsable, Terms, TermsOfRooms, normal_term
from chat.rooms.facts import BlockedTerm
from runtime.ids import uuid7

TEXT_CHARACTERS_MAX = 500
SECONDS_MAX = 0.05
"""Far above what it takes, far below what backtracking would."""


def found(term: str, text: str) -> bool:
    return Terms.of([BlockedTerm(normal_term(term), hold=False)]).find(text) is not None


@pytest.mark.parametrize(
    ("term", "text"),
    [
        ("bad", "that is BAD"),
        ("bad", "b\u200bad!"),
        ("bad", "bаd"),  # a Cyrillic letter
        ("bad", "ｂａｄ"),
        ("bad", "bád"),
        ("bad", "b4d"),
        ("bad", "(bad)"),
        ("Bäd", "bad"),
        ("shit", "$h1t"),
        ("buy followers", "Buy   followers, now"),
        ("bad*", "badly"),
        ("*bad", "notbad"),
        ("*bad*", "xxbadxx"),
        ("1337", "1337"),
        ("b*", "@bob says"),
        ("*плохо*", "оченьплохоо"),
    ],
)
def test_terms_are_found_however_they_are_dressed(term: str, text: str) -> None:
    assert found(term, text)


@pytest.mark.parametrize(
    ("term", "text"),
    [
        ("bad", "badly"),
        ("bad", "notbad"),
        ("bad*", "notbad"),
        ("*bad", "badly"),
        ("buy followers", "buy more followers"),
        ("45", "as"),  # numbers are no letters
        ("as", "45"),
        ("hell", "hello"),
    ],
)
def test_words_that_only_have_a_term_inside_pass(term: str, text: str) -> None:
    assert not found(term, text)


@pytest.mark.parametrize("term", ["", "*", "**", "...", "b*d", "\u200b", "x" * (TERM_CHARACTERS_MAX + 1)])
def test_terms_that_could_not_be_found_are_not_taken(term: str) -> None:
    with pytest.raises(TermNotUsable):
        normal_term(term)


def test_a_normal_term_stays_as_it_is() -> None:
    for term in ("*bad*", "buy followers", "bad*"):
        assert normal_term(normal_term(term)) == normal_term(term) == term


def test_terms_are_made_ready_once_for_a_list() -> None:
    kept, room, terms = TermsOfRooms(), uuid7(), (BlockedTerm("bad", hold=False),)
    assert kept.of(room, terms) is kept.of(room, terms)
    assert kept.of(room, (BlockedTerm("worse", hold=False),)).find("bad") is None


@pytest.mark.parametrize(
    "text",
    [
        "a" * TEXT_CHARACTERS_MAX,
        "ab" * (TEXT_CHARACTERS_MAX // 2),
        "a " * (TEXT_CHARACTERS_MAX // 2),
        "." * TEXT_CHARACTERS_MAX,
        "a." * (TEXT_CHARACTERS_MAX // 2),
        "ﷺ" * TEXT_CHARACTERS_MAX,  # becomes 18 times as long
        "://" * (TEXT_CHARACTERS_MAX // 3),
    ],
)
def test_no_text_takes_long_against_a_full_list(text: str) -> None:
    spread = random.Random(7)
    terms = Terms.of(
        [BlockedTerm("a" * (TERM_CHARACTERS_MAX - 3) + f"{number:03}", hold=False) for number in range(TERMS_MAX // 2)]
        + [
            BlockedTerm("*" + "".join(spread.choices(string.ascii_lowercase, k=90)) + "*", hold=True)
            for _ in range(TERMS_MAX // 2)
        ]
    )
    begun = time.process_time()
    terms.find(text)
    has_link(text)
    assert time.process_time() - begun < SECONDS_MAX


@pytest.mark.parametrize(
    "text",
    [
        "see http://x.y", "https://a", "www.foo.bar", "example.com", "(example.com)", "go to example.com.",
        "twitch.tv/foo", "youtu.be/abc", "bit.ly/1", "t.me/x", "exаmple.соm", "a@b.com", "1.2.3.4:8080", "1.2.3.4/x",
        "foo。com", "EXAMPLE.COM/Path?q", "ex\u200bample.com", "steam://run/1", "sub.domain.co.uk/x", "magnet:?xt=1",
        "first,example.org,last",
    ],
)  # fmt: skip
def test_links_are_seen(text: str) -> None:
    assert has_link(text)


@pytest.mark.parametrize(
    "text",
    [
        "e.g.", "1.5", "i.e. this", "hello.world", "wait.what", "end.So then", "v1.2.3", "1.2.3.4", "...", "a.b", "ok.",
        "u.s.a.", "etc.", "file.txt", "it was fun.it was", "10:30", "and/or", "w/o", "3.14/2", "no://", "Mr.Smith",
        "what?!", "http is old", ":)", "a.m./p.m.",
    ],
)  # fmt: skip
def test_what_only_has_dots_is_no_link(text: str) -> None:
    assert not has_link(text)
