"""The plan of retention: what is preserved or held is in none, and age decides about the rest."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import get_args
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from archive.retention.plan import (
    Aged,
    ChannelTerms,
    Days,
    Hold,
    Never,
    Policy,
    Scope,
    Terms,
    by_channel,
    plan,
    step_for,
)

NOW = datetime(2026, 6, 1, tzinfo=UTC)
NEVER: Never = "never"
ONE, TWO = UUID(int=1), UUID(int=2)
POLICY = Policy(Terms(90, 1_095), has_colder_class=True)


def aged(days: float, *, preserve: bool = False, cold: bool = False, purge_in_days: float | None = None) -> Aged:
    purge_due_at = None if purge_in_days is None else NOW + timedelta(days=purge_in_days)
    return Aged(UUID(int=9), ONE, NOW - timedelta(days=days), 7, preserve, cold, purge_due_at)


def test_age_decides() -> None:
    assert [step_for(aged(days), POLICY, NOW) for days in (0, 89.9, 90, 1_094.9, 1_095)] == [
        *(None, None, "cool", "cool", "delete")
    ]


def test_what_is_cold_is_not_cooled_again_and_without_a_colder_class_nothing_is() -> None:
    assert step_for(aged(100, cold=True), POLICY, NOW) is None
    assert step_for(aged(100), Policy(POLICY.terms), NOW) is None
    assert step_for(aged(2_000, cold=True), POLICY, NOW) == "delete"


def test_what_is_deleted_is_purged_when_its_undo_period_is_over() -> None:
    assert step_for(aged(1, purge_in_days=0.1), POLICY, NOW) is None
    assert step_for(aged(1, purge_in_days=0), POLICY, NOW) == "purge"
    assert step_for(aged(1, purge_in_days=-1, preserve=True), POLICY, NOW) == "purge", "it was let go on purpose"


def test_a_channel_may_have_terms_of_its_own_in_part() -> None:
    channels = {ONE: ChannelTerms(ONE, "never", None), TWO: ChannelTerms(TWO, None, 10)}
    policy = Policy(POLICY.terms, channels, has_colder_class=True)
    assert policy.terms_of(ONE) == Terms("never", 1_095)
    assert policy.terms_of(TWO) == Terms(90, 10)
    assert policy.terms_of(UUID(int=3)) == POLICY.terms
    assert step_for(aged(500), policy, NOW) is None
    assert step_for(aged(1_500), policy, NOW) == "delete"


ids = st.sampled_from([UUID(int=number) for number in range(1, 5)])
recordings = st.builds(
    Aged,
    stream_id=st.uuids(),
    channel_id=ids,
    aged_from=st.datetimes(datetime(2020, 1, 1), datetime(2026, 7, 1), timezones=st.just(UTC)),
    size_bytes=st.integers(0, 10**12),
    preserve=st.booleans(),
    cold=st.booleans(),
    purge_due_at=st.none() | st.datetimes(datetime(2026, 5, 1), datetime(2026, 7, 1), timezones=st.just(UTC)),
)
terms: st.SearchStrategy[Days] = st.one_of(st.just(NEVER), st.integers(1, 2_000))
scopes: st.SearchStrategy[Scope] = st.sampled_from(get_args(Scope))


@st.composite
def policies(draw: st.DrawFn, known: list[Aged]) -> Policy:
    channels = {
        one: ChannelTerms(one, draw(st.one_of(st.none(), terms)), draw(st.one_of(st.none(), terms)))
        for one in draw(st.sets(ids))
    }
    holds = []
    for scope in draw(st.lists(scopes, max_size=3)):
        subjects = {"channel": ids, "recording": st.sampled_from([one.stream_id for one in known] or [ONE])}
        subject_id = draw(subjects[scope]) if scope in subjects else None
        released_at = draw(st.none() | st.just(NOW))
        holds.append(Hold(UUID(int=0), scope, subject_id, "why", "ada", NOW, None, released_at))
    return Policy(Terms(draw(terms), draw(terms)), channels, holds, draw(st.booleans()))


@given(st.data())
def test_nothing_that_is_preserved_or_held_is_ever_in_a_plan_and_the_sums_are_right(data: st.DataObject) -> None:
    known = data.draw(st.lists(recordings, unique_by=lambda one: one.stream_id, max_size=12))
    policy = data.draw(policies(known))
    steps = plan(known, policy, NOW)
    by_id = {one.stream_id: one for one in known}
    assert len({step.stream_id for step in steps}) == len(steps), "one thing at a time"
    for step in steps:
        recording = by_id[step.stream_id]
        assert not any(
            hold.released_at is None
            and (hold.scope == "everything" or hold.subject_id in (recording.stream_id, recording.channel_id))
            for hold in policy.holds
        )
        assert step.action == "purge" or not recording.preserve
        assert (step.action == "purge") == (recording.purge_due_at is not None)
        assert step.action != "cool" or policy.has_colder_class
    tallies = by_channel(steps)
    for action in ("cool", "delete", "purge"):
        planned = [step.size_bytes for step in steps if step.action == action]
        told = [channel[action] for channel in tallies.values()]
        assert sum(tally.size_bytes for tally in told) == sum(planned)
        assert sum(tally.count for tally in told) == len(planned)
