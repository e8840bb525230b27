"""The ids of notices."""

from datetime import UTC, datetime

from notify.notices import id_before, least_notice_id
from runtime.ids import uuid7, uuid7_time


def test_the_least_id_of_a_moment_is_below_every_id_made_from_then_on() -> None:
    before = datetime.now(UTC)
    made = uuid7()
    assert least_notice_id(before) <= made
    assert id_before(made, seconds=60) < least_notice_id(before)
    assert uuid7_time(made) >= before.replace(microsecond=before.microsecond // 1_000 * 1_000)


def test_an_id_before_never_falls_below_zero() -> None:
    assert id_before(least_notice_id(datetime(1970, 1, 1, tzinfo=UTC)), seconds=60).int == 0
