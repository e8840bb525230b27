"""What can be wanted, and what of it a notice meets."""

from datetime import time

import pytest

from notify.follow_wants import FollowWants
from notify.preferences import Preferences, check_quiet_hours, check_time_zone
from runtime.problems import ValidationFailed
from tests.unit.notify.people import notice

ZONES = frozenset({"UTC", "Europe/Berlin"})


@pytest.mark.parametrize(
    ("start", "end", "field"),
    [
        (time(22), None, "body.quiet_until"),
        (None, time(7), "body.quiet_from"),
        (time(22), time(22), "body.quiet_until"),
    ],
)
def test_quiet_hours_need_both_ends_and_a_length(start: time | None, end: time | None, field: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        check_quiet_hours(Preferences(quiet_from=start, quiet_until=end))
    assert refused.value.facts["errors"][0]["field"] == field  # type: ignore[index,call-overload]  # JSON of any shape


@pytest.mark.parametrize(("start", "end"), [(None, None), (time(22), time(7)), (time(0), time(23, 59))])
def test_quiet_hours_may_be_none_and_may_go_over_midnight(start: time | None, end: time | None) -> None:
    check_quiet_hours(Preferences(quiet_from=start, quiet_until=end))


def test_a_time_zone_is_known_or_named() -> None:
    check_time_zone("Europe/Berlin", ZONES)
    with pytest.raises(ValidationFailed, match="'Mars/Olympus' is no time zone of the IANA database"):
        check_time_zone("Mars/Olympus", ZONES)
    with pytest.raises(ValidationFailed) as refused:
        check_time_zone("x" * 10_000, ZONES)
    assert len(refused.value.detail) < 200


@pytest.mark.parametrize(
    ("wants", "category", "kind", "included"),
    [
        (FollowWants(), None, "stream.started", True),
        (FollowWants(), None, "recording.published", False),
        (FollowWants(recordings=True), None, "recording.published", True),
        (FollowWants(categories=("Chess", "Go")), "Go", "stream.started", True),
        (FollowWants(categories=("Chess",)), "Go", "stream.started", False),
        (FollowWants(categories=("Chess",)), None, "stream.started", False),
        (FollowWants(recordings=True, categories=("Chess",)), "Go", "recording.published", False),
    ],
)
def test_wants_include_what_the_inbox_would_get(wants: FollowWants, category: str, kind: str, included: bool) -> None:
    told = notice(1).model_copy(update={"category": category, "kind": kind})
    assert wants.include(told) is included
