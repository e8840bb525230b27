"""From the outcome of an attempt to what is written of the delivery, and of its provider."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from notify.deliveries.breaker import Breakers
from notify.deliveries.delivery import (
    Delivered,
    Delivery,
    Dropped,
    Expired,
    Failed,
    Gone,
    Outcome,
    ProviderBusy,
    Refused,
    RetrySchedule,
)
from notify.deliveries.lines import Leased
from notify.deliveries.retries import next_wait_seconds
from notify.deliveries.store import Pause, Verdict

NAMES: dict[type[Outcome], str] = {
    Delivered: "delivered",
    Gone: "gone",
    Refused: "refused",
    Dropped: "dropped",
    Expired: "expired",
}
RELEASED = "released"
FAILED = "failed"
BUSY_SECONDS_MAX = 86_400.0


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a leased delivery; None: it is given back without an attempt."""

    leased: Leased
    outcome: Outcome | None


@dataclass(slots=True)
class Round:
    """A batch of results, as what is to be written, told and done because of them."""

    verdicts: list[Verdict] = field(default_factory=list)
    heard: list[tuple[Delivery, Outcome, bool]] = field(default_factory=list)
    gone: list[Delivery] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    """By outcome, `released`, and `retried` for failures that are not the last."""


def summed_up(results: Sequence[Result], schedule: RetrySchedule) -> Round:
    """What to write of some results."""
    summary = Round()
    for result in results:
        delivery, outcome = result.leased.delivery, result.outcome
        name, reason, wait_seconds = _fate(delivery, outcome, schedule)
        summary.verdicts.append(Verdict(delivery.delivery_id, result.leased.lease, name, reason, wait_seconds))
        counted = "retried" if name == FAILED and wait_seconds is not None else name
        summary.counts[counted] = summary.counts.get(counted, 0) + 1
        if outcome is not None:
            summary.heard.append((delivery, outcome, wait_seconds is None))
        if isinstance(outcome, Gone):
            summary.gone.append(delivery)
    return summary


def _fate(delivery: Delivery, outcome: Outcome | None, schedule: RetrySchedule) -> tuple[str, str, float | None]:
    match outcome:
        case None | ProviderBusy():
            return RELEASED, "", 0.0
        case Delivered():
            return "delivered", "", None
        case Failed(reason=reason):
            return FAILED, reason, next_wait_seconds(schedule, delivery.attempts, outcome)
        case _:
            return NAMES[type(outcome)], outcome.reason, None


def pause_after(outcome: Outcome, provider: str, breakers: Breakers) -> Pause | None:
    """The pause that an outcome asks for, or that its breaker opens for; None: go on."""
    match outcome:
        case ProviderBusy(reason=reason, retry_after=retry_after):
            seconds = min(max(retry_after.total_seconds(), 0.0), BUSY_SECONDS_MAX)
            return Pause(provider, seconds, 0, reason)
        case Failed(reason=reason, blames_provider=True):
            pause = breakers.failed(provider)
            if pause is not None:
                return Pause(provider, pause.total_seconds(), breakers.pauses(provider), reason)
    return None
