"""When failures are repeated, when a provider is left alone, and what outcomes mean: without a clock or a database."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from notify.deliveries.attempts import prepare, send, tell
from notify.deliveries.breaker import PAUSE_FIRST, Breakers
from notify.deliveries.delivery import (
    ChannelName,
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
from notify.deliveries.results import Result, pause_after, summed_up
from notify.deliveries.retries import JITTER, next_wait_seconds
from notify.deliveries.settings import DeliverySettings

SCHEDULE = RetrySchedule([timedelta(seconds=1), timedelta(minutes=1)])
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def delivery(number: int = 1, *, attempts: int = 0, provider: str = "p:443") -> Delivery:
    return Delivery(number, uuid4(), uuid4(), uuid4(), uuid4(), provider, attempts, NOW, NOW, None)


def leased(one: Delivery) -> Leased:
    return Leased(one, uuid4(), 0.0)


# --- retries ---


def test_waits_follow_the_schedule_with_jitter_and_then_end() -> None:
    assert next_wait_seconds(SCHEDULE, 0, Failed("x"), chance=0) == 1
    assert next_wait_seconds(SCHEDULE, 1, Failed("x"), chance=1) == 60 * (1 + JITTER)
    assert next_wait_seconds(SCHEDULE, 2, Failed("x")) is None
    several = {next_wait_seconds(SCHEDULE, 1, Failed("x")) for _ in range(20)}
    assert len(several) > 1


def test_a_receiver_is_never_asked_earlier_than_it_said_and_not_put_off_for_ever() -> None:
    assert next_wait_seconds(SCHEDULE, 0, Failed("x", timedelta(seconds=30)), chance=0) == 30
    assert next_wait_seconds(SCHEDULE, 1, Failed("x", timedelta(seconds=30)), chance=0) == 60
    longest = next_wait_seconds(SCHEDULE, 0, Failed("x", timedelta(days=400)), chance=1)
    assert longest is not None
    assert longest < 3 * 86_400


# --- breakers ---


def test_a_breaker_opens_after_failures_in_a_row_only() -> None:
    breakers = Breakers(failures_max=3, pause_max=timedelta(minutes=1))
    assert [breakers.failed("p") for _ in range(2)] == [None, None]
    assert not breakers.worked("p")
    assert [breakers.failed("p") for _ in range(3)] == [None, None, PAUSE_FIRST]
    assert breakers.failed("q") is None


def test_a_probe_that_fails_pauses_for_longer_up_to_the_limit_and_one_that_works_closes() -> None:
    breakers = Breakers(failures_max=1, pause_max=timedelta(seconds=30))
    pauses = [breakers.failed("p") for _ in range(60)]
    assert pauses[:4] == [PAUSE_FIRST, PAUSE_FIRST * 2, PAUSE_FIRST * 4, timedelta(seconds=30)]
    assert set(pauses[4:]) == {timedelta(seconds=30)}
    assert breakers.worked("p")
    assert not breakers.worked("p")
    assert breakers.failed("p") == PAUSE_FIRST


def test_what_another_worker_found_out_counts_here_too() -> None:
    breakers = Breakers(failures_max=10, pause_max=timedelta(minutes=5))
    breakers.heard({"p": 2})
    assert breakers.failed("p") == PAUSE_FIRST * 4  # half open: the first failure opens it again
    breakers.heard({})
    assert breakers.pauses("p") == 0
    assert breakers.failed("p") is None


@pytest.mark.parametrize(
    ("outcome", "pauses"),
    [
        (ProviderBusy("429", timedelta(seconds=9)), 9),
        (Failed("500"), PAUSE_FIRST.total_seconds()),
        (Failed("404", blames_provider=False), None),
        (Delivered(), None),
        (Gone("410"), None),
    ],
)
def test_which_outcomes_pause_a_provider(outcome: Outcome, pauses: float | None) -> None:
    pause = pause_after(outcome, "p", Breakers(failures_max=1, pause_max=timedelta(minutes=5)))
    assert (pause and pause.seconds) == pauses


# --- outcomes ---


def test_what_is_written_of_each_outcome() -> None:
    outcomes: list[Outcome | None] = [
        Delivered(),
        Gone("410"),
        Refused("413"),
        Dropped("left"),
        Expired(),
        Failed("500"),
        ProviderBusy("429", timedelta(seconds=3)),
        None,
    ]
    summary = summed_up([Result(leased(delivery(n)), outcome) for n, outcome in enumerate(outcomes)], SCHEDULE)
    assert [(one.outcome, one.wait_seconds is None) for one in summary.verdicts] == [
        ("delivered", True),
        ("gone", True),
        ("refused", True),
        ("dropped", True),
        ("expired", True),
        ("failed", False),
        ("released", False),
        ("released", False),
    ]
    assert [one.delivery_id for one in summary.gone] == [1]
    assert [is_last for _, _, is_last in summary.heard] == [True] * 5 + [False] * 2
    assert summary.counts["retried"] == 1
    assert summary.counts["released"] == 2


def test_the_last_failure_is_final() -> None:
    summary = summed_up([Result(leased(delivery(attempts=2)), Failed("500"))], SCHEDULE)
    assert [(one.outcome, one.reason, one.wait_seconds) for one in summary.verdicts] == [("failed", "500", None)]
    assert [is_last for _, _, is_last in summary.heard] == [True]
    assert summary.counts == {"failed": 1}


# --- what channels do wrong ---


class Careless:
    """A channel that cannot prepare some deliveries, forgets others, and does not listen."""

    name = ChannelName.WEBPUSH
    schedule = SCHEDULE

    def __init__(self, *, bad: set[int], forgotten: set[int]) -> None:
        self.bad = bad
        self.forgotten = forgotten

    async def prepare(self, batch: list[Delivery]) -> dict[int, Outcome]:
        if any(one.delivery_id in self.bad for one in batch):
            raise ValueError("bad")
        return {one.delivery_id: Delivered() for one in batch if one.delivery_id not in self.forgotten}

    async def remove(self, gone: list[Delivery]) -> None:
        raise ValueError("deaf")

    async def settled(self, outcomes: list[tuple[Delivery, Outcome, bool]]) -> None:
        raise ConnectionError("away")


async def test_what_cannot_be_prepared_fails_alone() -> None:
    channel = Careless(bad={3, 70}, forgotten={5})
    with capture_logs() as lines:
        prepared = await prepare(channel, [delivery(n) for n in range(100)])  # type: ignore[arg-type]  # lists will do
    assert [(line["event"], line["delivery_id"]) for line in lines] == [("delivery_not_prepared", n) for n in (3, 70)]
    assert {n for n, outcome in prepared.items() if isinstance(outcome, Failed)} == {3, 5, 70}
    assert len(prepared) == 100


async def test_a_deaf_channel_does_not_stop_the_settling_and_an_absent_dependency_does() -> None:
    channel = Careless(bad=set(), forgotten=set())
    with capture_logs() as lines:
        await tell(channel, [], [delivery()])  # type: ignore[arg-type]  # lists will do
    assert [line["event"] for line in lines] == ["delivery_outcomes_not_heard"]
    with pytest.raises(ConnectionError):
        await tell(channel, [(delivery(), Delivered(), True)], [])  # type: ignore[arg-type]  # lists will do


async def test_a_timeout_of_the_channels_own_is_told_from_ours() -> None:
    class Impatient:
        async def send(self) -> Outcome:
            raise TimeoutError("theirs")

    outcome = await send(Impatient(), seconds_max=5)
    assert outcome == Failed("TimeoutError: theirs")


def test_a_lease_must_outlast_an_attempt() -> None:
    with pytest.raises(ValueError, match="notify_delivery_lease_seconds"):
        DeliverySettings(notify_delivery_lease_seconds=10, notify_delivery_send_seconds_max=9)
