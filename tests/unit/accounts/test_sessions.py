"""What a refresh token is worth, by its generation, the session's, and the seconds since that began."""

import pytest

from accounts.sessions import ANSWERS_AGAIN_MAX, GRACE_SECONDS, judge


@pytest.mark.parametrize(
    ("generation", "seconds_ago", "again", "outcome"),
    [
        (3, None, 0, "rotated"),
        (3, 9_999.0, ANSWERS_AGAIN_MAX, "rotated"),
        (2, 0.0, 0, "again"),
        (2, -0.1, 0, "again"),
        (2, GRACE_SECONDS, 0, "again"),
        (2, GRACE_SECONDS + 0.1, 0, "reused"),
        (2, 0.0, ANSWERS_AGAIN_MAX, "reused"),
        (1, 0.0, 0, "reused"),
        (-1, 0.0, 0, "reused"),
    ],
)
def test_a_token_is_worth_what_its_generation_says(
    generation: int, seconds_ago: float | None, again: int, outcome: str
) -> None:
    assert judge(generation, 3, rotated_seconds_ago=seconds_ago, again=again) == outcome


def test_what_an_older_process_spent_is_theft_also_in_a_session_that_has_no_generations_yet() -> None:
    assert judge(-1, 0, rotated_seconds_ago=None, again=0) == "reused"
