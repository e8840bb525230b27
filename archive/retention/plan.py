"""What is to be done with recordings because of their age: a plan, from facts alone.

A recording is as old as the time since it was published (or, of one that never was, since its stream ended). What its
owner preserves and what a hold covers is in no plan: it stays in the class that it is in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

Never = Literal["never"]
Days = int | Never
"""After so many days, or never."""

Action = Literal["cool", "delete", "purge"]
Scope = Literal["everything", "channel", "recording"]


@dataclass(frozen=True, slots=True)
class Terms:
    """After how many days something happens to a recording."""

    cold_after_days: Days
    delete_after_days: Days


@dataclass(frozen=True, slots=True)
class ChannelTerms:
    """A channel's own terms; None: as everywhere."""

    channel_id: UUID
    cold_after_days: Days | None
    delete_after_days: Days | None


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing in its scope is cooled, deleted or purged. ``subject_id``: the channel or the recording."""

    hold_id: UUID
    scope: Scope
    subject_id: UUID | None
    reason: str
    placed_by: str
    placed_at: datetime
    released_by: str | None = None
    released_at: datetime | None = None

    def covers(self, stream_id: UUID, channel_id: UUID) -> bool:
        """Whether it keeps this recording as it is."""
        if self.released_at is not None:
            return False
        return self.scope == "everything" or self.subject_id == {"channel": channel_id, "recording": stream_id}.get(
            self.scope
        )


@dataclass(frozen=True, slots=True)
class Aged:
    """A recording as the plan sees it; ``size_bytes`` is what it takes in the store.

    ``purge_due_at`` is set of one that is deleted already.
    """

    stream_id: UUID
    channel_id: UUID
    aged_from: datetime
    size_bytes: int
    preserve: bool = False
    cold: bool = False
    purge_due_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do with one recording. Only a purge frees its bytes."""

    action: Action
    stream_id: UUID
    channel_id: UUID
    aged_from: datetime
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Policy:
    """What counts: the terms, those of single channels, the holds, and whether the store has a colder class."""

    terms: Terms
    channels: Mapping[UUID, ChannelTerms] = field(default_factory=dict)
    holds: Sequence[Hold] = ()
    has_colder_class: bool = False

    def terms_of(self, channel_id: UUID) -> Terms:
        """The terms that a channel's recordings go by."""
        own = self.channels.get(channel_id)
        if own is None:
            return self.terms
        return Terms(
            self.terms.cold_after_days if own.cold_after_days is None else own.cold_after_days,
            self.terms.delete_after_days if own.delete_after_days is None else own.delete_after_days,
        )

    def holds_on(self, stream_id: UUID, channel_id: UUID) -> bool:
        """Whether a hold keeps this recording as it is."""
        return any(hold.covers(stream_id, channel_id) for hold in self.holds)


def step_for(recording: Aged, policy: Policy, now: datetime) -> Action | None:
    """What is to be done with a recording now; deleting comes before cooling, for nobody cools what goes."""
    if policy.holds_on(recording.stream_id, recording.channel_id):
        return None
    if recording.purge_due_at is not None:
        return "purge" if recording.purge_due_at <= now else None
    if recording.preserve:
        return None
    terms = policy.terms_of(recording.channel_id)
    if _is_over(recording.aged_from, terms.delete_after_days, now):
        return "delete"
    if policy.has_colder_class and not recording.cold and _is_over(recording.aged_from, terms.cold_after_days, now):
        return "cool"
    return None


def plan(recordings: Iterable[Aged], policy: Policy, now: datetime) -> list[Step]:
    """What is to be done, in the order of ``recordings``."""
    return [
        Step(action, one.stream_id, one.channel_id, one.aged_from, one.size_bytes)
        for one in recordings
        if (action := step_for(one, policy, now)) is not None
    ]


@dataclass(slots=True)
class Tally:
    """How many recordings or objects, and how many bytes they take."""

    count: int = 0
    size_bytes: int = 0

    def add(self, size_bytes: int) -> None:
        """One more."""
        self.count += 1
        self.size_bytes += size_bytes


def by_channel(steps: Iterable[Step]) -> dict[UUID, dict[Action, Tally]]:
    """What a plan does with each channel's recordings."""
    found: dict[UUID, dict[Action, Tally]] = {}
    for step in steps:
        tallies = found.setdefault(step.channel_id, {"cool": Tally(), "delete": Tally(), "purge": Tally()})
        tallies[step.action].add(step.size_bytes)
    return found


def due_before(after_days: Days, now: datetime) -> datetime | None:
    """What is from this moment or before it is due; None: nothing ever is."""
    return None if after_days == "never" else now - timedelta(days=after_days)


def _is_over(aged_from: datetime, after_days: Days, now: datetime) -> bool:
    before = due_before(after_days, now)
    return before is not None and aged_from <= before
