"""The judge of fault runs finds what it is there for: doctored histories, one fault each."""

import pytest

from tests.faults.chat_history import Acknowledged, Heard, judge

SENT = {f"t{number}" for number in range(1, 100)}


def said(first: int, last: int, epoch: str = "e") -> Heard:
    return Heard("messages", epoch, last, tuple((number, f"t{number}") for number in range(first, last + 1)))


def joined(offset: int, *items: int, recovered: bool = False, epoch: str = "e") -> Heard:
    return Heard("joined", epoch, offset, tuple((number, f"t{number}") for number in items), recovered)


def gap(offset: int, *items: int, epoch: str = "e") -> Heard:
    return Heard("gap", epoch, offset, tuple((number, f"t{number}") for number in items))


GOOD = {
    "quiet": [joined(0)],
    "live": [joined(0), said(1, 3), said(4, 4)],
    "with history": [joined(5, 4, 5), said(6, 7)],
    "recovered": [joined(0), said(1, 2), joined(4, 3, 4, recovered=True), said(5, 5)],
    "told of a gap": [joined(0), said(1, 2), gap(9, 8, 9), said(10, 10)],
    "told at a join": [joined(0), said(1, 2), joined(9, 8, 9), said(10, 10)],
    "seen before, and told": [joined(0), said(1, 2), gap(2, 1, 2), said(3, 3)],
    "another epoch that goes on": [joined(0), said(1, 2), said(3, 4, epoch="f")],
    "another epoch from the start": [joined(0), said(1, 2), gap(0, epoch="f"), said(1, 1, epoch="f")],
}


@pytest.mark.parametrize("name", GOOD)
def test_a_history_in_order_has_no_faults(name: str) -> None:
    assert judge([GOOD[name]], SENT, [Acknowledged("t1", 1, "e")]).faults() == {}


DOCTORED: dict[str, tuple[list[Heard], str, int]] = {
    "a message left out": ([joined(0), said(1, 2), said(4, 5)], "lost", 1),
    "the end of a recovery left out": ([joined(0), said(1, 2), joined(5, 3, recovered=True)], "lost", 2),
    "the start of a recovery left out": ([joined(0), said(1, 2), joined(5, 5, recovered=True)], "lost", 2),
    "an epoch that skips": ([joined(0), said(1, 2), said(5, 5, epoch="f")], "lost", 2),
    "a hole inside a history": ([joined(9, 6, 9)], "lost", 2),
    "a message twice": ([joined(0), said(1, 2), said(2, 3)], "doubled", 1),
    "a text at two places": (
        [joined(0), said(1, 2), Heard("messages", "e", 3, ((3, "t1"),))], "doubled", 1,
    ),
    "a recovery of what was seen": ([joined(0), said(1, 2), joined(2, 2, recovered=True)], "doubled", 1),
    "an offset that goes back": ([joined(0), said(1, 3), Heard("messages", "e2", 2, ((2, "t9"),))], "reordered", 1),
    "what nobody sent": ([joined(0), Heard("messages", "e", 1, ((1, "x"),))], "phantom", 1),
}  # fmt: skip


@pytest.mark.parametrize("name", DOCTORED)
def test_a_doctored_history_is_found_out(name: str) -> None:
    history, fault, count = DOCTORED[name]
    assert judge([history], SENT, []).faults() == {fault: count}


def test_two_clients_who_saw_different_messages_at_one_place_are_found_out() -> None:
    other = [joined(0), Heard("messages", "e", 1, ((1, "t2"),))]
    assert judge([[joined(0), said(1, 1)], other], SENT, []).faults() == {"contradicted": 1}
    assert judge([[joined(0), said(1, 1)]], SENT, [Acknowledged("t2", 1, "e")]).faults() == {
        "contradicted": 1,
        "forgotten": 1,
    }


def test_an_acknowledged_message_that_a_client_went_past_is_found_out() -> None:
    history = [joined(0), said(1, 1), said(3, 3)]
    verdict = judge([history], SENT, [Acknowledged("t2", 2, "e")])
    assert verdict.faults() == {"lost": 1, "forgotten": 1}
    told = [joined(0), said(1, 1), gap(3, 3)]
    assert judge([told], SENT, [Acknowledged("t2", 2, "e")]).faults() == {}


def test_two_messages_acknowledged_at_one_place_are_found_out() -> None:
    acknowledged = [Acknowledged("t1", 1, "e"), Acknowledged("t2", 1, "e")]
    assert "contradicted" in judge([], SENT, acknowledged).faults()


def test_it_counts_what_there_was() -> None:
    verdict = judge([GOOD["told of a gap"], GOOD["live"]], SENT, [])
    assert (verdict.told, verdict.received) == (1, 9)
