"""Judges what chat clients heard: every message once and in order, or told that some may be missing.

A client's history is what its frames said, over all its connections. Between two tellings of a possible loss (a first
join, a join that is not recovered, a gap) the offsets of a client must count up by one, whatever the epoch.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Literal


@dataclass(frozen=True, slots=True)
class Heard:
    """One frame: where it says that the room is, and the messages it brought, as (offset, text)."""

    kind: Literal["joined", "gap", "messages"]
    epoch: str
    offset: int
    items: tuple[tuple[int, str], ...]
    recovered: bool = False


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What a speaker was told of a message."""

    text: str
    offset: int
    epoch: str


@dataclass
class Verdict:
    """What is wrong, counted over all clients; and how much there was."""

    lost: int = 0
    """Offsets that a client passed over without being told."""
    doubled: int = 0
    """Messages that a client heard again without being told of a loss in between."""
    reordered: int = 0
    """Offsets that went back to something else than had been there."""
    phantom: int = 0
    """Messages that nobody sent."""
    contradicted: int = 0
    """Places where two clients, or a speaker and a client, saw different messages."""
    forgotten: int = 0
    """Acknowledged messages that are not in the sequence of a client who went past them without being told."""
    told: int = 0
    received: int = 0

    def faults(self) -> dict[str, int]:
        """What must not be, where it is."""
        counted = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in ("told", "received")}
        return {name: count for name, count in counted.items() if count}


@dataclass
class _Segment:
    """What one client heard between two tellings."""

    before: int
    last: int = 0
    places: dict[int, tuple[str, str]] = field(default_factory=dict)
    texts: set[str] = field(default_factory=set)
    reached: dict[str, int] = field(default_factory=dict)  # the last offset of each epoch

    def __post_init__(self) -> None:
        self.last = self.before


def judge(histories: Iterable[Sequence[Heard]], sent: set[str], acknowledged: Sequence[Acknowledged]) -> Verdict:
    """Count what is wrong in the histories of all clients together."""
    verdict = Verdict()
    truth: dict[tuple[str, int], str] = {(one.epoch, one.offset): one.text for one in acknowledged}
    verdict.contradicted += len(acknowledged) - len(truth)
    for history in histories:
        for segment in _segments(history, sent, truth, verdict):
            for one in acknowledged:
                passed = segment.before < one.offset <= segment.reached.get(one.epoch, 0)
                if passed and segment.places.get(one.offset, ("", ""))[1] != one.text:
                    verdict.forgotten += 1
    return verdict


def _segments(
    history: Sequence[Heard], sent: set[str], truth: dict[tuple[str, int], str], verdict: Verdict
) -> list[_Segment]:
    segments: list[_Segment] = []
    for heard in history:
        if not segments or heard.kind == "gap" or (heard.kind == "joined" and not heard.recovered):
            verdict.told += bool(segments)
            segments.append(_Segment(before=heard.items[0][0] - 1 if heard.items else heard.offset))
        segment = segments[-1]
        for offset, text in heard.items:
            _take(segment, heard.epoch, offset, text, verdict)
            verdict.phantom += text not in sent
            verdict.contradicted += truth.setdefault((heard.epoch, offset), text) != text
        if heard.offset > segment.last:
            verdict.lost += heard.offset - segment.last
            segment.last = heard.offset
        segment.reached[heard.epoch] = segment.last
        verdict.received += len(heard.items)
    return segments


def _take(segment: _Segment, epoch: str, offset: int, text: str, verdict: Verdict) -> None:
    if offset <= segment.last:
        again = segment.places.get(offset, ("", ""))[1] == text
        verdict.doubled += again
        verdict.reordered += not again
        return
    verdict.lost += offset - segment.last - 1
    verdict.doubled += text in segment.texts
    segment.last = offset
    segment.places[offset] = (epoch, text)
    segment.texts.add(text)
