"""What people write about streams is made comparable, and what cannot be is refused."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import TypeAdapter, ValidationError

from streaming.streams.words import Language, ScheduledAt, Tags

TAGS: TypeAdapter[tuple[str, ...]] = TypeAdapter(Tags)
LANGUAGE: TypeAdapter[str] = TypeAdapter(Language)
SCHEDULED: TypeAdapter[datetime] = TypeAdapter(ScheduledAt)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (["Chess"], ("chess",)),
        (["#Chess", "chess", " CHESS "], ("chess",)),
        (["Just  Chatting"], ("just chatting",)),
        (["ﬁsh", "Straße"], ("fish", "strasse")),
        (["日本語", "ünïcode"], ("日本語", "ünïcode")),
        ([], ()),
    ],
)
def test_tags_are_compared_without_case_and_kept_once(written: list[str], kept: tuple[str, ...]) -> None:
    assert TAGS.validate_python(written) == kept


@pytest.mark.parametrize("tag", ["", " ", "#", "x" * 26, "a\u202eb", "a\u200bb", "a\x07b", "\ud800"])
def test_a_tag_is_something_to_see(tag: str) -> None:
    with pytest.raises(ValidationError):
        TAGS.validate_python([tag])


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("en", "en"),
        ("EN-gb", "en-GB"),
        ("zh-hant-tw", "zh-Hant-TW"),
        ("es-419", "es-419"),
        ("de-ch-1996", "de-CH-1996"),
    ],
)
def test_a_language_has_its_customary_case(written: str, kept: str) -> None:
    assert LANGUAGE.validate_python(written) == kept


@pytest.mark.parametrize(
    "language", ["", "e", "english", "en_GB", "en-", "-en", "en--GB", "en\n", "x-klingon", "e" * 36]
)
def test_what_is_no_language_tag_is_refused(language: str) -> None:
    with pytest.raises(ValidationError):
        LANGUAGE.validate_python(language)


def test_a_stream_is_scheduled_for_the_coming_year() -> None:
    now = datetime.now(UTC)
    assert SCHEDULED.validate_python(now + timedelta(days=365)) == now + timedelta(days=365)
    for moment in (now - timedelta(seconds=1), now + timedelta(days=367), now.replace(tzinfo=None) + timedelta(days=1)):
        with pytest.raises(ValidationError):
            SCHEDULED.validate_python(moment)
