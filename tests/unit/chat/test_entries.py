"""Entries and what deletions take away: the sequence stays whole, the text is gone."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from chat.brokers.broker import Entry
from chat.rooms.entries import Cleared, Deleted, Redactions, Said, message_body, placed, read_body, redacted, to_body

NOW = datetime(2026, 1, 2, tzinfo=UTC)
ANN, BOB = uuid4(), uuid4()


def said(offset: int, user: UUID, text: str = "secret") -> Entry:
    return Entry(offset, message_body(uuid4(), user, "x", text, NOW))


def id_of(entry: Entry) -> UUID:
    body = read_body(entry.body)
    assert isinstance(body, Said | Deleted)
    return body.message_id


def test_a_body_begins_with_its_kind_and_takes_its_offset() -> None:
    for body in (to_body(Deleted(message_id=ANN)), to_body(Cleared(cleared_at=NOW)), said(1, ANN).body):
        assert body.startswith(b'{"kind":"')
        assert placed(7, body).startswith(b'{"offset":7,"kind":"')


def test_what_is_not_said_takes_no_bytes() -> None:
    body = message_body(uuid4(), ANN, "ann", "hi", NOW)
    assert b"reply_to" not in body
    assert b"mentions" not in body


def test_a_deleted_message_leaves_a_tombstone_at_its_offset() -> None:
    first, second = said(1, ANN), said(2, BOB, "stays")
    gone = Entry(3, to_body(Deleted(message_id=id_of(first))))
    shown = redacted([first, second, gone])
    assert [entry.offset for entry in shown] == [1, 2, 3]
    assert read_body(shown[0].body) == Deleted(message_id=id_of(first))
    assert shown[1:] == (second, gone)


def test_clearing_takes_what_came_before_and_not_what_comes_after() -> None:
    entries = [
        said(1, ANN),
        said(2, BOB, "bob's"),
        Entry(3, to_body(Cleared(user_id=ANN, cleared_at=NOW))),
        said(4, ANN),
    ]
    shown = redacted(entries)
    assert b"secret" not in shown[0].body
    assert shown[1] == entries[1]
    assert shown[3] == entries[3]
    everything = redacted([*entries, Entry(5, to_body(Cleared(cleared_at=NOW))), said(6, ANN)])
    assert all(b"text" not in entry.body for entry in everything[:4])
    assert b"secret" in everything[5].body


def test_redacting_twice_changes_nothing_more() -> None:
    entries = [said(1, ANN), Entry(2, to_body(Cleared(cleared_at=NOW)))]
    once = redacted(entries)
    assert redacted(once) == once
    assert not Redactions.of([entries[0]])


@given(st.lists(st.sampled_from(["ann", "bob", "delete", "clear", "clear-ann"]), max_size=30))
def test_no_text_survives_what_takes_it_away(steps: list[str]) -> None:
    entries: list[Entry] = []
    alive: dict[int, tuple[UUID, UUID]] = {}
    for offset, step in enumerate(steps, start=1):
        if step in ("ann", "bob"):
            entries.append(said(offset, ANN if step == "ann" else BOB))
            alive[offset] = (ANN if step == "ann" else BOB, id_of(entries[-1]))
        elif step == "delete" and alive:
            _, (_, message_id) = alive.popitem()
            entries.append(Entry(offset, to_body(Deleted(message_id=message_id))))
        else:
            whose = ANN if step == "clear-ann" else None
            entries.append(Entry(offset, to_body(Cleared(user_id=whose, cleared_at=NOW))))
            alive = {place: owner for place, owner in alive.items() if whose is not None and owner[0] != whose}
    shown = redacted(entries)
    assert [entry.offset for entry in shown] == [entry.offset for entry in entries]
    assert {entry.offset for entry in shown if b"secret" in entry.body} == set(alive)
