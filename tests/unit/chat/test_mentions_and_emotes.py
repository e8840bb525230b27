"""What a text names: people by `@name`, emotes by whole words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.emotes.urls import emotes_in
from chat.speaking.mentions import MENTIONS_MAX, names_in

URLS = {"Wave": "/w", "wave": "/v", "Nod_1": "/n"}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("@ann", ["ann"]),
        ("hi @Ann, and @BOB_2!", ["ann", "bob_2"]),
        ('(@ann) "@bob" @ann', ["ann", "bob"]),
        ("mail me@example.org or a.@bob", []),
        ("@an", []),
        ("@" + "x" * 31, []),
        ("@@ann", []),
        ("@annä", []),
        ("nobody", []),
    ],
)
def test_names_are_whole_words_behind_an_at(text: str, names: list[str]) -> None:
    assert names_in(text) == names


def test_names_are_bounded() -> None:
    assert len(names_in(" ".join(f"@user{number}" for number in range(100)))) == MENTIONS_MAX


def test_emotes_are_whole_words_with_all_their_places() -> None:
    uses = emotes_in("Wave xWave Wave, wave 🎈 Wave", URLS)
    assert [(use.name, use.url, use.places) for use in uses] == [
        ("Wave", "/w", ((0, 4), (24, 28))),
        ("wave", "/v", ((17, 21),)),
    ]


@given(st.text(st.sampled_from("Wave wNod_1🎈\t "), max_size=80))
def test_every_place_of_an_emote_has_its_name_and_is_a_word(text: str) -> None:
    for use in emotes_in(text, URLS):
        for first, last in use.places:
            assert text[first:last] == use.name
            assert f" {text} "[first].isspace() and f" {text} "[last + 1].isspace()
