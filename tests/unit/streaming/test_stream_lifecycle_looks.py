"""What a media server's answers prove, and what they do not."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from streaming.ingest.commands import Session
from streaming.lifecycle.lifecycle import Status
from streaming.lifecycle.looks import Findings, Listened, Looks
from streaming.servers.media_server import Publisher

START = datetime(2026, 3, 1, tzinfo=UTC)
SURE_AFTER = 7.0


def listened(number: int, client: str, *, started: float = 0) -> Listened:
    at = START + timedelta(seconds=started)
    return Listened(UUID(int=number), Session("one", client), at, at, Status.LIVE)


class Process:
    """One that looks."""

    def __init__(self) -> None:
        self.looks = Looks(SURE_AFTER)

    def look(self, at: float, publishers: Sequence[Publisher], *sessions: Listened) -> Findings:
        return self.looks.compare(publishers, sessions, asked_at=START + timedelta(seconds=at), now=at)


ADA = listened(1, "7")


def test_who_is_there_is_present_at_once() -> None:
    assert Process().look(60, [Publisher("7", 61)], ADA) == Findings([ADA], [], [])


def test_who_is_missing_for_long_enough_is_absent() -> None:
    process = Process()
    assert [process.look(60 + at, [], ADA).absent for at in (0, 2, 4, 6)] == [[]] * 4
    assert process.look(68, [], ADA).absent == [ADA]


def test_one_answer_with_the_session_begins_the_while_anew() -> None:
    process = Process()
    for at in (0, 2, 4):
        process.look(60 + at, [], ADA)
    process.look(66, [Publisher("7", 66)], ADA)
    assert [process.look(68 + at, [], ADA).absent for at in (0, 2, 4, 6)] == [[]] * 4
    assert process.look(76, [], ADA).absent == [ADA]


def test_an_answer_that_did_not_come_begins_the_while_anew() -> None:
    process = Process()
    for at in (0, 2, 4):
        process.look(60 + at, [], ADA)
    process.looks.forget()
    assert process.look(68, [], ADA).absent == []


def test_a_process_that_was_stopped_begins_the_while_anew() -> None:
    process = Process()
    process.look(60, [], ADA)
    assert process.look(90, [], ADA).absent == []


def test_a_younger_connection_with_the_number_is_somebody_else() -> None:
    process = Process()
    for at in (0, 2, 4, 6):
        found = process.look(60 + at, [Publisher("7", 3 + at)], ADA)
        assert (found.present, found.absent, found.strangers) == ([], [], [])
    found = process.look(68, [Publisher("7", 11)], ADA)
    assert (found.absent, found.strangers) == ([ADA], [Publisher("7", 11)])


def test_of_two_sessions_with_one_number_the_one_nearest_to_the_connections_beginning_has_it() -> None:
    process = Process()
    bob = listened(2, "7", started=0.5)
    late = listened(3, "7", started=20)
    found = process.look(60, [Publisher("7", 59.6)], ADA, bob, late)
    assert found.present == [bob]
    for at in (2, 4, 6, 8):
        found = process.look(60 + at, [Publisher("7", 59.6 + at)], ADA, bob, late)
    assert (found.present, found.absent, found.strangers) == ([bob], [ADA, late], [])


def test_a_stranger_is_named_after_a_while_and_once_dropped_only_after_as_long_again() -> None:
    process, stranger = Process(), Publisher("9", None)
    assert [process.look(60 + at, [stranger]).strangers for at in (0, 2, 4, 6, 8)] == [[], [], [], [], [stranger]]
    process.looks.spare("9")
    assert [process.look(70 + at, [stranger]).strangers for at in (0, 2, 4, 6, 8)] == [[], [], [], [], [stranger]]
