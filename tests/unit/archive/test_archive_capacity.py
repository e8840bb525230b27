"""The capacity model is held against the arithmetic of the plan: 30,000 hours a month, 67.5 TB, and not 1.35."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive.retention.capacity import (
    Keeping,
    Load,
    Month,
    Past,
    PerStream,
    Prices,
    Rendition,
    as_records,
    planned_stream,
    project,
)

TB = 10**12
SOURCE = planned_stream(hours=2, bits_per_second=5_000_000)
THREE_YEARS = Keeping()
PLANNED = Load(streams_per_day=500, per_stream=SOURCE)


def at_month(
    number: int, load: Load = PLANNED, keeping: Keeping = THREE_YEARS, *, prices: Prices | None = None
) -> Month:
    return project(load, keeping, months=number, prices=prices)[-1]


def test_an_hour_at_5_mbit_is_2_25_gb() -> None:
    assert planned_stream(hours=1, bits_per_second=5_000_000).size_bytes == 2.25e9


def test_a_month_of_the_plan_is_30_000_hours_and_67_5_tb() -> None:
    (first,) = project(PLANNED, Keeping(), months=1, hours_each=2)
    assert (first.streams, first.hours) == (15_000, 30_000)
    assert first.made_bytes == first.size_bytes == 67.5 * TB


def test_the_figure_of_1_35_tb_is_wrong() -> None:
    """An older document has it: it is what 600 hours take, those of not even a single day of the plan (1,000)."""
    made = at_month(1).made_bytes
    assert made != pytest.approx(1.35 * TB)
    assert made / (1.35 * TB) == pytest.approx(50)
    hours = 1.35 * TB / 2.25e9
    assert hours == pytest.approx(600)


def test_a_year_has_about_180_000_recordings() -> None:
    assert at_month(12).recordings == 180_000


def test_the_steady_state_is_90_days_hot_and_the_rest_of_three_years_cold() -> None:
    steady = at_month(40)
    assert steady.hot_bytes == pytest.approx(3 * 67.5 * TB)
    assert steady.cold_bytes == pytest.approx((1_095 - 90) / 30 * 67.5 * TB)
    assert steady.size_bytes == pytest.approx(2_463.75 * TB)
    assert at_month(60).size_bytes == pytest.approx(steady.size_bytes)
    assert at_month(60).recordings == 60 * 15_000, "their rows stay"
    assert at_month(60).segments == pytest.approx(36.5 * 15_000 * 3_600)


def test_with_the_ladder_its_bits_are_added() -> None:
    ladder = [Rendition("720p", 3_660_000), Rendition("480p", 1_560_000), Rendition("audio", 160_000)]
    each = planned_stream(hours=2, bits_per_second=5_000_000, ladder=ladder)
    assert each.size_bytes == SOURCE.size_bytes + 7_200 * 5_380_000 / 8
    assert each.objects == 3_600 + 3 * 1_200 + 4 + 1 + 4
    assert SOURCE.objects == 3_600 + 1 + 1 + 4
    assert at_month(1, Load(500, each)).size_bytes == pytest.approx(67.5 * TB * (10.38 / 5))


def test_the_month_in_which_a_term_ends_counts_by_its_share() -> None:
    keeping = Keeping(cold_after_days=45, delete_after_days=inf)
    assert at_month(1, keeping=keeping).cold_bytes == 0
    assert at_month(2, keeping=keeping).hot_bytes == pytest.approx(1.5 * 67.5 * TB)
    assert at_month(2, keeping=keeping).cold_bytes == pytest.approx(0.5 * 67.5 * TB)


def test_growth_is_compound() -> None:
    load = Load(500, SOURCE, growth_per_month=0.1)
    assert at_month(3, load).streams == pytest.approx(15_000 * 1.21)
    assert at_month(3, load).size_bytes == pytest.approx(67.5 * TB * (1 + 1.1 + 1.21))


def test_what_is_there_already_ages_as_well() -> None:
    past = [Past(streams=10, size_bytes=TB)] * 3
    keeping = Keeping(cold_after_days=60, delete_after_days=90)
    nothing = Load(0, SOURCE)
    first, second, third, fourth = project(nothing, keeping, months=4, past=past)
    assert (first.hot_bytes, first.cold_bytes) == (TB, TB), "the oldest month is gone by its end"
    assert (second.hot_bytes, second.cold_bytes) == (0, TB)
    assert third.size_bytes == fourth.size_bytes == 0
    assert first.recordings == 30


def test_cost_is_told_only_with_prices() -> None:
    assert at_month(1).cost is None
    assert "cost" not in as_records([at_month(1)])[0]
    month = at_month(4, prices=Prices(hot=0.02, cold=0.004))
    assert month.cost == pytest.approx(202_500 * 0.02 + 67_500 * 0.004)
    assert as_records([month])[0]["cost"] == 4_320.0


shares = st.floats(0, 1)
days = st.one_of(st.just(inf), st.floats(1, 4_000))


@given(days, days, shares, st.floats(-0.5, 0.5), st.integers(1, 60))
def test_nothing_is_lost_or_counted_twice(
    cold_after: float, delete_after: float, preserved: float, growth: float, months: int
) -> None:
    load = Load(3, PerStream(size_bytes=7, segments=1, jobs=0, renditions=1), growth)
    keeping = Keeping(cold_after, delete_after, preserved=preserved)
    all_months = project(load, keeping, months=months)
    made = 0.0
    for month in all_months:
        made += month.made_bytes
        assert 0 <= month.hot_bytes <= made * 1.000001
        assert month.cold_bytes >= -1e-6
        assert month.size_bytes <= made * 1.000001
        if delete_after == inf:
            assert month.size_bytes == pytest.approx(made)
        assert month.size_bytes >= preserved * made * 0.999999
