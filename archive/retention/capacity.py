"""What recordings will take, month by month: rows, objects, bytes and cost; arithmetic alone.

A month has 30 days. Whatever is made in a month is made evenly over it, so a term that ends within a month ends for its
share of it. Bytes and rows are those at the end of a month; 1 GB is 10^9 bytes. A month's cost is that of keeping for a
month what is there at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil, inf, isfinite

DAYS_A_MONTH = 30
GB = 10**9
MONTHS_MAX = 600
AUDIO_BITS_PER_SECOND = 160_000
"""What the sound of a rendition takes; it is copied from the source."""
FILES_PER_RECORDING = 4
"""A poster, a storyboard and the pictures that it shows."""
EVENTS_PER_RECORDING = 12
OUTBOX_DAYS = 7


@dataclass(frozen=True, slots=True)
class Rendition:
    """One rendition beside the source, in bits per second with its sound."""

    name: str
    bits_per_second: float


@dataclass(frozen=True, slots=True)
class PerStream:
    """What one stream leaves behind, on average."""

    size_bytes: float
    segments: float
    jobs: float
    renditions: float
    files: float = FILES_PER_RECORDING

    @property
    def objects(self) -> float:
        """Source segments, one segment of each other rendition per job, their playlists, a master, and the files."""
        return self.segments + self.jobs * (self.renditions - 1) + self.renditions + 1 + self.files


@dataclass(frozen=True, slots=True)
class Load:
    """What comes: streams a day in the first month, and by what share (0.05: 5 %) each month has more of them."""

    streams_per_day: float
    per_stream: PerStream
    growth_per_month: float = 0.0


@dataclass(frozen=True, slots=True)
class Past:
    """What a month before the first has left: its streams, and what they take still."""

    streams: float
    size_bytes: float


@dataclass(frozen=True, slots=True)
class Keeping:
    """How long it stays, in days; inf: for ever. ``preserved`` is the share that is neither cooled nor deleted."""

    cold_after_days: float = 90.0
    delete_after_days: float = 1_095.0
    undo_days: float = 0.0
    preserved: float = 0.0


@dataclass(frozen=True, slots=True)
class Prices:
    """What a GB costs a month, in whatever currency."""

    hot: float
    cold: float


@dataclass(frozen=True, slots=True)
class Month:
    """What is there at the end of a month, the first being 1."""

    month: int
    streams: float
    hours: float | None
    recordings: float
    segments: float
    jobs: float
    renditions: float
    files: float
    outbox: float
    objects: float
    hot_bytes: float
    cold_bytes: float
    made_bytes: float
    cost: float | None = None

    @property
    def rows(self) -> float:
        """Of all tables."""
        return self.recordings + self.segments + self.jobs + self.renditions + self.files + self.outbox

    @property
    def size_bytes(self) -> float:
        """Hot and cold."""
        return self.hot_bytes + self.cold_bytes


def planned_stream(
    *,
    hours: float,
    bits_per_second: float,
    ladder: Sequence[Rendition] = (),
    segment_seconds: float = 2.0,
    chunk_seconds: float = 6.0,
) -> PerStream:
    """A stream of so many hours, by its bit rate and the ladder beside it."""
    seconds = hours * 3_600
    return PerStream(
        size_bytes=seconds * (bits_per_second + sum(one.bits_per_second for one in ladder)) / 8,
        segments=ceil(seconds / segment_seconds),
        jobs=ceil(seconds / chunk_seconds) if ladder else 0,
        renditions=1 + len(ladder),
    )


def project(
    load: Load,
    keeping: Keeping,
    *,
    months: int,
    past: Sequence[Past] = (),
    prices: Prices | None = None,
    hours_each: float | None = None,
) -> list[Month]:
    """The months from now on; ``past`` are the ones before, the latest first."""
    return [_month(number, load, keeping, past, prices, hours_each) for number in range(1, months + 1)]


def _month(
    number: int, load: Load, keeping: Keeping, past: Sequence[Past], prices: Prices | None, hours_each: float | None
) -> Month:
    def streams(month: int) -> float:
        if month >= 0:
            return load.streams_per_day * DAYS_A_MONTH * (1 + load.growth_per_month) ** month
        return past[-month - 1].streams if -month <= len(past) else 0.0

    def size_bytes(month: int) -> float:
        if month >= 0:
            return streams(month) * load.per_stream.size_bytes
        return past[-month - 1].size_bytes if -month <= len(past) else 0.0

    now, first, share = number * DAYS_A_MONTH, -len(past), 1 - keeping.preserved
    kept_days = keeping.delete_after_days + keeping.undo_days
    hot_days = min(keeping.cold_after_days, kept_days)
    everything = _made(streams, now, inf, first)
    kept = share * _made(streams, now, kept_days, first) + keeping.preserved * everything
    hot = share * _made(size_bytes, now, hot_days, first) + keeping.preserved * _made(size_bytes, now, inf, first)
    cold = share * (_made(size_bytes, now, kept_days, first) - _made(size_bytes, now, hot_days, first))
    each = load.per_stream
    return Month(
        month=number,
        streams=streams(number - 1),
        hours=None if hours_each is None else streams(number - 1) * hours_each,
        recordings=everything,
        segments=kept * each.segments,
        jobs=kept * each.jobs,
        renditions=kept * each.renditions,
        files=kept * each.files,
        outbox=_made(streams, now, OUTBOX_DAYS, first) * EVENTS_PER_RECORDING,
        objects=kept * each.objects,
        hot_bytes=hot,
        cold_bytes=cold,
        made_bytes=size_bytes(number - 1),
        cost=None if prices is None else hot / GB * prices.hot + cold / GB * prices.cold,
    )


def _made(per_month: Callable[[int], float], now: int, days: float, first: int) -> float:
    """What was made in the ``days`` before day ``now``, of months from ``first`` on; day 0 begins month 0."""
    begin = max(now - days, first * DAYS_A_MONTH) if isfinite(days) else first * DAYS_A_MONTH
    made = 0.0
    for month in range(int(begin // DAYS_A_MONTH), ceil(now / DAYS_A_MONTH)):
        start, end = max(begin, month * DAYS_A_MONTH), min(now, (month + 1) * DAYS_A_MONTH)
        made += per_month(month) * max(0.0, end - start) / DAYS_A_MONTH
    return made


COLUMNS = (
    *("month", "streams", "rows", "recordings", "segments", "jobs", "renditions", "files", "outbox"),
    *("objects", "made_bytes", "hot_bytes", "cold_bytes", "size_bytes"),
)


def as_records(months: Iterable[Month]) -> list[dict[str, float | int]]:
    """The months as numbers by column, rounded to whole ones; `cost` with two decimals, where there is one."""
    records: list[dict[str, float | int]] = []
    for one in months:
        record: dict[str, float | int] = {name: round(getattr(one, name)) for name in COLUMNS}
        if one.cost is not None:
            record["cost"] = round(one.cost, 2)
        records.append(record)
    return records
