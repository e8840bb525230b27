"""A member of a consumer group on Postgres: reads outboxes by position, moves cursors that it owns.

Every partition has a position of its own: the id up to which its log was scanned. Partitions of one outbox with the
same position are read together by one statement (a cohort); after it all of them are at the same id again, so they stay
together, and those that were paused for a while join them when they have caught up.

Ownership moves bit by bit: a member lets go of what is another's by the shares of all living members, and takes what
is its own as soon as nobody alive holds it. Both happen in ``fetch``, and so does the moving on of cursors for which
nothing came: the slowest cursor of a group says how far the group is.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import structlog

from eventbus.bus import BusUnavailable, CommitRefused, Message, Partition, RebalanceListener
from eventbus.group_session import GroupSession, Membership, Peer
from eventbus.log_postgres import log_schema, messages_of, of_schema, partition_of
from eventbus.outbox import QUERIES
from events import Topic

if TYPE_CHECKING:
    from eventbus.bus_postgres import PostgresBus

log = structlog.get_logger(__name__)

FETCH_RECORDS_MAX = 1_000
FETCH_BYTES_MAX = 4 * 1_048_576
"""Of one statement; the last record may exceed it."""

CLOSE_TIMEOUT_SECONDS = 2.0

UNREAD_RECORDS_MAX = 10_000
"""So many records behind the furthest position are counted."""


@dataclass
class _Held:
    """A partition that is ours. ``position``: everything up to this id was scanned for it."""

    schema: str
    position: int
    cursor: int
    """What is stored as the offset to read next."""
    delivered: int
    """The offset after the last message that was handed out."""
    paused: bool = False


class _Cohort(NamedTuple):
    """Partitions that are read together: their schema, and their common position."""

    schema: str
    position: int


class PostgresConsumer:
    """See ``eventbus.bus.Consumer``. Made by ``PostgresBus.consumer``."""

    def __init__(
        self,
        bus: "PostgresBus",
        session: GroupSession,
        group: str,
        topics: Sequence[Topic],
        listener: RebalanceListener,
    ) -> None:
        self._bus = bus
        self._session = session
        self._group = group
        self._topics = {topic.name: topic for topic in topics}
        self._partitions = {topic.name: topic.partitions for topic in topics}
        self._schemas = {topic.name: log_schema(topic) for topic in topics}
        self._listener = listener
        self._held: dict[Partition, _Held] = {}
        self._member: Membership | None = None
        self._news = asyncio.Event()

    async def start(self) -> None:
        """Join the group and take what is free. Raises BusUnavailable."""
        self._member = await self._session.join(self._group, frozenset(self._topics), self.wake)
        await self._rebalance(self._member)

    async def close(self) -> None:
        """Leave the group; what was ours is free at once, or as soon as Postgres notices. Bounded."""
        if self._member is None:
            return
        # A task of its own, since ours may have been cancelled: it must learn how its statement ends.
        leaving = asyncio.create_task(self._leave(self._member))
        try:
            await asyncio.wait({leaving}, timeout=CLOSE_TIMEOUT_SECONDS)
            if leaving.done():
                leaving.result()
            else:
                log.warning("bus_member_left_unclean", group=self._group, reason="Postgres does not answer")
        finally:
            leaving.cancel()

    async def _leave(self, member: Membership) -> None:
        try:
            await self._session.leave(member)
        except BusUnavailable as error:
            log.warning("bus_member_left_unclean", group=self._group, reason=str(error))

    def wake(self) -> None:
        """There may be something to read or to do."""
        self._news.set()

    async def fetch(self, *, timeout_seconds: float) -> Mapping[Partition, Sequence[Message]]:
        """See ``Consumer.fetch``."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        while True:
            self._news.clear()
            self._bus.raise_if_failed()
            member = self._living_member()
            if member.due:
                member.due = False
                await self._rebalance(member)
                await self._move_idle_cursors(member)
            fetched = await self._read()
            if fetched:
                return fetched
            if self._waiting() and loop.time() < deadline:
                continue  # what was scanned was all for other partitions; there is more
            try:
                async with asyncio.timeout_at(deadline):
                    await self._news.wait()
            except TimeoutError:
                return {}

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        """See ``Consumer.commit``."""
        strange = [place for place in offsets if place not in self._held]
        if strange:
            raise CommitRefused(f"not ours: {strange}")
        moved = await self._move(self._living_member(), offsets)
        if moved < len(offsets):
            raise CommitRefused(f"{len(offsets) - moved} of {len(offsets)} partitions belong to another member by now")

    def pause(self, partition: Partition) -> None:
        """See ``Consumer.pause``."""
        if partition in self._held:
            self._held[partition].paused = True

    def resume(self, partition: Partition) -> None:
        """See ``Consumer.resume``."""
        if partition in self._held:
            self._held[partition].paused = False
            self.wake()

    async def unread(self) -> Mapping[Partition, int]:
        """See ``Consumer.unread``. Counted up to 10,000 records behind the furthest position in each outbox."""
        counts = dict.fromkeys(self._held, 0)
        for schema in {held.schema for held in self._held.values()}:
            held = {place: one for place, one in self._held.items() if one.schema == schema}
            after_id, last_id = min(one.position for one in held.values()), self._bus.watermark(schema)
            if after_id >= last_id:
                continue
            rows = await self._bus.fetch(
                of_schema(QUERIES.read_log_keys, schema),
                after_id=after_id,
                last_id=last_id,
                topics=sorted({place.topic for place in held}),
                records_max=UNREAD_RECORDS_MAX,
            )
            for record_id, topic, key, _ in rows:
                place = Partition(topic, partition_of(record_id, key, self._partitions[topic]))
                if place in held and record_id > held[place].position:
                    counts[place] += 1
        return counts

    def _living_member(self) -> Membership:
        if self._member is None:
            raise BusUnavailable("not a member")
        if self._member.lost is not None:
            raise BusUnavailable(self._member.lost)
        return self._member

    # --- Reading ------------------------------------------------------------------------------------------------------

    def _waiting(self) -> Mapping[_Cohort, set[Partition]]:
        """The cohorts for which there may be something to read."""
        cohorts: dict[_Cohort, set[Partition]] = defaultdict(set)
        for place, held in self._held.items():
            if not held.paused and held.position < self._bus.watermark(held.schema):
                cohorts[_Cohort(held.schema, held.position)].add(place)
        return cohorts

    async def _read(self) -> dict[Partition, Sequence[Message]]:
        """One look at every outbox where something may be; nothing is taken unless all looks succeed."""
        cohorts = self._waiting()
        fetched: dict[Partition, list[Message]] = defaultdict(list)
        scanned: dict[Partition, int] = {}
        for cohort, places in cohorts.items():
            messages, last_id = await self._scan(cohort, places)
            for message in messages:
                if message.place in places:
                    fetched[message.place].append(message)
            scanned.update(dict.fromkeys(places, last_id))
        for place, last_id in scanned.items():
            held = self._held[place]
            held.position = last_id
            if place in fetched:
                held.delivered = fetched[place][-1].offset + 1
        return dict(fetched)

    async def _scan(self, cohort: _Cohort, places: set[Partition]) -> tuple[list[Message], int]:
        """The next messages of the cohort's topics, and the id up to which that is all there is."""
        watermark = self._bus.watermark(cohort.schema)
        rows = await self._bus.fetch(
            of_schema(QUERIES.read_log, cohort.schema),
            after_id=cohort.position,
            last_id=watermark,
            topics=sorted({place.topic for place in places}),
            records_max=FETCH_RECORDS_MAX,
            bytes_max=FETCH_BYTES_MAX,
        )
        messages = messages_of(rows, self._partitions)
        cut = len(rows) == FETCH_RECORDS_MAX or (
            rows and rows[-1]["bytes_before"] + len(rows[-1]["data"] or b"") >= FETCH_BYTES_MAX
        )
        return messages, rows[-1]["id"] if cut else watermark

    # --- Belonging ----------------------------------------------------------------------------------------------------

    async def _rebalance(self, member: Membership) -> None:
        """Let go of what is another's, take what is ours and free."""
        share = share_of(member.member_id, member.peers, self._partitions)
        surplus = frozenset(self._held) - share
        if surplus:
            await self._listener.on_revoked(surplus)
            for place in surplus:
                self._held.pop(place, None)
            await self._release(member, surplus)
        missing = share - self._held.keys()
        if missing:
            taken = await self._claim(member, missing)
            if taken:
                await self._listener.on_assigned(taken)

    async def _release(self, member: Membership, places: frozenset[Partition]) -> None:
        async with self._session.speak() as connection:
            await QUERIES.release_partitions(
                connection,
                group_name=self._group,
                member_id=member.member_id,
                topics=[place.topic for place in places],
                partitions=[place.number for place in places],
            )
        self._session.stir(self._group)

    async def _claim(self, member: Membership, places: frozenset[Partition]) -> frozenset[Partition]:
        wanted = sorted(places)
        async with self._session.speak() as connection:
            rows = await QUERIES.claim_partitions(
                connection,
                member_id=member.member_id,
                topics=[place.topic for place in wanted],
                partitions=[place.number for place in wanted],
            )
        for row in rows:
            place, offset = Partition(row["topic"], row["partition"]), row["next_offset"]
            self._held[place] = _Held(self._schemas[place.topic], offset - 1, offset, offset)
        return frozenset(Partition(row["topic"], row["partition"]) for row in rows)

    async def _move_idle_cursors(self, member: Membership) -> None:
        """Store how far we scanned where nothing that was handed out waits for its commit."""
        idle = {
            place: held.position + 1
            for place, held in self._held.items()
            if held.cursor >= held.delivered and held.position >= held.cursor
        }
        if idle:
            await self._move(member, idle)

    async def _move(self, member: Membership, offsets: Mapping[Partition, int]) -> int:
        """Store offsets; the answer is how many of them were ours to store."""
        async with self._session.speak() as connection:
            moved: int = await QUERIES.move_cursors(
                connection,
                group_name=self._group,
                member_id=member.member_id,
                topics=[place.topic for place in offsets],
                partitions=[place.number for place in offsets],
                next_offsets=list(offsets.values()),
            )
        if moved == len(offsets):
            for place, offset in offsets.items():
                if place in self._held:
                    self._held[place].cursor = offset
        return moved


def share_of(member_id: int, peers: Sequence[Peer], partitions: Mapping[str, int]) -> frozenset[Partition]:
    """The partitions that are a member's when ``peers`` (oldest first) share them, topic by topic, in turn."""
    share = set()
    for topic, count in partitions.items():
        takers = [peer.member_id for peer in peers if topic in peer.topics]
        if member_id in takers:
            mine = takers.index(member_id)
            share |= {Partition(topic, number) for number in range(count) if number % len(takers) == mine}
    return frozenset(share)
