"""The rule for gaps against a model of Postgres: any interleaving of transactions, nothing lost, order kept."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from eventbus.gaps import MARKS_MAX, Gaps


def test_events_without_a_gap_go_out_at_once() -> None:
    assert Gaps().publishable([1, 2, 3], after_id=0, oldest_open=1) == 3


def test_publishing_stops_at_a_gap_until_it_is_settled() -> None:
    gaps = Gaps()
    assert gaps.publishable([1, 3], after_id=0, oldest_open=10) == 1
    assert gaps.open
    gaps.mark(3, transaction_id=20)
    assert gaps.publishable([3], after_id=1, oldest_open=19) == 0, "a transaction from before the mark is open"
    assert gaps.publishable([3], after_id=1, oldest_open=20) == 1
    assert not gaps.open


def test_a_gap_that_is_filled_needs_no_settling() -> None:
    gaps = Gaps()
    assert gaps.publishable([2], after_id=0, oldest_open=10) == 0
    assert gaps.publishable([1, 2], after_id=0, oldest_open=10) == 2


def test_a_mark_settles_nothing_beyond_itself() -> None:
    gaps = Gaps()
    gaps.mark(3, transaction_id=20)
    assert gaps.publishable([3, 5], after_id=1, oldest_open=99) == 1


def test_the_marks_are_bounded() -> None:
    gaps = Gaps()
    for event_id in range(1, 1000):
        if gaps.wants_mark(event_id):
            gaps.mark(event_id, transaction_id=event_id)
    assert not gaps.wants_mark(1000)
    gaps.publishable([], after_id=0, oldest_open=MARKS_MAX + 1)
    assert gaps.wants_mark(1000)


@dataclass
class Database:
    """Transactions that take an id, take event ids, and commit or roll back, in any order."""

    next_transaction: int = 1
    next_event: int = 1
    open: dict[int, list[int]] = field(default_factory=dict)
    visible: list[int] = field(default_factory=list)

    def begin(self) -> None:
        self.open[self.next_transaction] = []
        self.next_transaction += 1

    def say(self, which: int) -> None:
        if self.open:
            transaction = sorted(self.open)[which % len(self.open)]
            self.open[transaction].append(self.next_event)
            self.next_event += 1

    def end(self, which: int, *, commit: bool) -> None:
        if self.open:
            events = self.open.pop(sorted(self.open)[which % len(self.open)])
            if commit:
                self.visible = sorted([*self.visible, *events])

    def take_transaction_id(self) -> int:
        self.next_transaction += 1
        return self.next_transaction - 1

    @property
    def oldest_open(self) -> int:
        return min(self.open, default=self.next_transaction)


@dataclass
class Reader:
    """What the relay does, a look at a time; the mark may come later than the look."""

    database: Database
    gaps: Gaps = field(default_factory=Gaps)
    published: list[int] = field(default_factory=list)
    unmarked: int | None = None

    def look(self, limit: int) -> None:
        after = self.published[-1] if self.published else 0
        ids = [event for event in self.database.visible if event > after][:limit]
        count = self.gaps.publishable(ids, after_id=after, oldest_open=self.database.oldest_open)
        self.published += ids[:count]
        if count < len(ids) and self.gaps.wants_mark(ids[-1]):
            self.unmarked = ids[-1]

    def mark(self) -> None:
        if self.unmarked is not None:
            self.gaps.mark(self.unmarked, transaction_id=self.database.take_transaction_id())
            self.unmarked = None


steps = st.lists(
    st.tuples(
        st.sampled_from(["begin", "begin", "say", "say", "say", "commit", "commit", "undo", "look", "look", "mark"]),
        st.integers(0, 9),
    ),
    max_size=120,
)


@settings(max_examples=400, deadline=None)
@given(steps)
def test_whatever_happens_nothing_is_lost_and_the_order_holds(script: list[tuple[str, int]]) -> None:
    database = Database()
    reader = Reader(database)
    for action, number in script:
        match action:
            case "begin":
                database.begin()
            case "say":
                database.say(number)
            case "commit" | "undo":
                database.end(number, commit=action == "commit")
            case "look":
                reader.mark()  # the relay marks before it looks again
                reader.look(limit=number + 1)
            case _:
                reader.mark()
        # Never ahead of an event that commits later: what is published is a beginning of what is visible by now.
        assert reader.published == database.visible[: len(reader.published)]
    while database.open:
        database.end(0, commit=True)
    for _ in range(2 * len(database.visible) + 2 * MARKS_MAX + 2):
        reader.mark()
        reader.look(limit=3)
    assert reader.published == database.visible
