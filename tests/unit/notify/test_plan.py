"""How followers are cut into pages."""

from collections.abc import Iterator
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from notify.fanout import Step, plan_step
from notify.fanout_store import Boundary
from notify.store import FIRST_USER_ID, LAST_USER_ID


def boundaries(followers: list[int], *, after: int, page_followers: int, followers_max: int) -> list[Boundary]:
    """What the database finds: every `page_followers`-th candidate and the last."""
    candidates = [follower for follower in sorted(followers) if follower > after][:followers_max]
    return [
        Boundary(UUID(int=follower), position)
        for position, follower in enumerate(candidates, 1)
        if position % page_followers == 0 or position == len(candidates)
    ]


def whole_plan(followers: list[int], *, page_followers: int, pages_max: int) -> Iterator[Step]:
    after: UUID | None = None
    while True:
        found = boundaries(
            followers,
            after=(after or FIRST_USER_ID).int,
            page_followers=page_followers,
            followers_max=page_followers * pages_max + 1,
        )
        step = plan_step(found, page_followers=page_followers, pages_max=pages_max, is_first=after is None)
        yield step
        if step.is_last:
            return
        after = step.page_ends[-1]


def test_5000_followers_are_5_pages_the_last_of_which_is_open_ended() -> None:
    found = boundaries(list(range(1, 5_001)), after=0, page_followers=1_000, followers_max=200_001)
    step = plan_step(found, page_followers=1_000, pages_max=200, is_first=True)
    assert step.is_last
    assert [end.int for end in step.page_ends[:-1]] == [1_000, 2_000, 3_000, 4_000]
    assert step.page_ends[-1] == LAST_USER_ID


def test_nobody_to_tell_is_a_plan_without_pages() -> None:
    assert plan_step([], page_followers=1_000, pages_max=200, is_first=True) == Step([], is_last=True)


def test_followers_who_all_left_between_two_steps_leave_one_page_for_the_rest_of_the_ids() -> None:
    assert plan_step([], page_followers=1_000, pages_max=200, is_first=False) == Step([LAST_USER_ID], is_last=True)


@given(
    followers=st.lists(st.integers(1, 10_000), unique=True, max_size=200),
    page_followers=st.integers(1, 12),
    pages_max=st.integers(1, 9),
)
def test_every_follower_is_in_exactly_one_page_of_bounded_size(
    followers: list[int], page_followers: int, pages_max: int
) -> None:
    steps = list(whole_plan(followers, page_followers=page_followers, pages_max=pages_max))
    assert all(len(step.page_ends) <= pages_max for step in steps)
    ends = [end for step in steps for end in step.page_ends]
    starts = [FIRST_USER_ID, *ends[:-1]]
    pages = [
        [follower for follower in followers if start.int < follower <= end.int]
        for start, end in zip(starts, ends, strict=False)
    ]
    assert sorted(follower for page in pages for follower in page) == sorted(followers)
    assert all(len(page) <= page_followers for page in pages)
    assert len(ends) == -(-len(followers) // page_followers)
    assert ends == sorted(ends)
    assert not followers or ends[-1] == LAST_USER_ID
