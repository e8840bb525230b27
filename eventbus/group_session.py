"""The session by which a process belongs to consumer groups on Postgres.

Pattern: one connection per process, outside every pool. It holds a session advisory lock, which shows that the process
lives; it says every second that its members do; and everything that needs ownership (claims, commits) goes over it, so
a lost lock is a lost connection and cannot commit.

When the connection is lost, all members of the process are lost with it: their consumers say so and are opened anew.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

import asyncpg
import structlog
from pydantic import SecretStr

from eventbus.bus import BusUnavailable
from eventbus.log_postgres import BUS_SCHEMA
from eventbus.outbox import QUERIES
from runtime.backoff import Backoff
from runtime.cancellation import raise_if_cancelled
from runtime.postgres import connect
from runtime.unavailable import is_unavailable

if TYPE_CHECKING:
    Session = asyncpg.Connection[asyncpg.Record]

log = structlog.get_logger(__name__)

BEAT_SECONDS = 1.0
MEMBER_SILENCE_SECONDS_MAX = 10.0
"""A member that is silent for so long is taken for dead; the partitions of a killed process are free at once."""

STATEMENT_SECONDS_MAX = 3.0
READY_TIMEOUT_SECONDS = 5.0
SESSION_IDLE_SECONDS_MAX = 15
RETRY_FIRST_SECONDS = 0.1
RETRY_CEILING_SECONDS = 2.0
POSTGRES_ERRORS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class Peer(NamedTuple):
    """A living member of a group and what it wants to hear."""

    member_id: int
    topics: frozenset[str]


class Membership:
    """One member of this process. ``peers`` are all living members of its group, itself among them, oldest first."""

    def __init__(self, member_id: int, group: str, topics: frozenset[str], wake: Callable[[], None]) -> None:
        self.member_id = member_id
        self.group = group
        self.topics = topics
        self.peers: Sequence[Peer] = ()
        self.lost: str | None = None
        """Why it is a member no more."""
        self.due = True
        """Set with every beat and change: its consumer is to look whether it has what it should have."""
        self._wake = wake

    def stir(self) -> None:
        """Have the consumer look at its partitions."""
        self.due = True
        self._wake()


class GroupSession:
    """Keeps the session. ``run`` is the bus's task; everything else raises BusUnavailable while there is none."""

    def __init__(self, dsn: SecretStr, *, silence_seconds_max: float = MEMBER_SILENCE_SECONDS_MAX) -> None:
        self._dsn = dsn
        self._silence_max = timedelta(seconds=silence_seconds_max)
        self._connection: Session | None = None
        self._key = 0
        self._ready = asyncio.Event()
        self._beat_now = asyncio.Event()
        self._speaking = asyncio.Lock()
        self._members: dict[int, Membership] = {}
        self.trouble: str | None = "not connected yet"

    async def run(self) -> None:
        """Hold a session, and a new one when it is lost."""
        backoff = Backoff(RETRY_FIRST_SECONDS, RETRY_CEILING_SECONDS)
        while True:
            try:
                await self._hold(backoff)
            except BusUnavailable as error:
                self._lose(str(error))
            except POSTGRES_ERRORS as error:
                if not is_unavailable(error):
                    raise
                self._lose(str(error) or type(error).__name__)
            raise_if_cancelled()
            await backoff.wait()

    async def _hold(self, backoff: Backoff) -> None:
        connection = await connect(self._dsn, schema=BUS_SCHEMA, command_timeout_seconds=STATEMENT_SECONDS_MAX)
        try:
            # A frozen process loses its session in the end, even when nobody wants its partitions. What a crash of
            # Postgres forgets of the cursors is delivered again, so their commits need not wait for the disk.
            await connection.execute(
                f"SET idle_session_timeout = '{SESSION_IDLE_SECONDS_MAX}s'; SET tcp_keepalives_idle = 5;"
                " SET tcp_keepalives_interval = 3; SET tcp_keepalives_count = 3; SET synchronous_commit = off"
            )
            self._key = await QUERIES.take_session_key(connection)
            if not await QUERIES.lock_session_key(connection, session_key=self._key):
                raise BusUnavailable(f"session key {self._key} is taken")
            self._connection, self.trouble = connection, None
            self._ready.set()
            backoff.reset()
            while self._connection is connection:
                await self._pause()
                await self.beat()
        finally:
            # A session that cannot say goodbye is cut off; the lock goes with it either way.
            connection.terminate()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(BEAT_SECONDS):
                await self._beat_now.wait()
        except TimeoutError:
            return
        self._beat_now.clear()

    def _lose(self, reason: str) -> None:
        self.trouble = f"no session on Postgres: {reason}"
        if self._connection is None:
            return
        self._connection = None
        self._ready.clear()
        self._beat_now.set()
        log.warning("bus_session_lost", reason=reason, members=len(self._members))
        members, self._members = list(self._members.values()), {}
        for member in members:
            member.lost = self.trouble
            member.stir()

    @asynccontextmanager
    async def speak(self) -> "AsyncIterator[Session]":
        """The session's connection, for one statement at a time. Raises BusUnavailable."""
        async with self._speaking:
            connection = self._connection
            if connection is None:
                raise BusUnavailable(self.trouble or "no session on Postgres")
            try:
                yield connection
            except POSTGRES_ERRORS as error:
                if isinstance(error, BusUnavailable) or not is_unavailable(error):
                    raise_if_cancelled()
                    raise
                # Whoever comes next need not find out by another timeout, whatever has become of this task.
                self._lose(str(error) or type(error).__name__)
                raise_if_cancelled()
                raise BusUnavailable(f"Postgres does not answer: {str(error) or type(error).__name__}") from error

    async def wait_ready(self) -> None:
        """Wait for a session, for a bounded time; whether there is one then is for ``speak`` to say."""
        with suppress(TimeoutError):
            async with asyncio.timeout(READY_TIMEOUT_SECONDS):
                await self._ready.wait()

    async def join(self, group: str, topics: frozenset[str], wake: Callable[[], None]) -> Membership:
        """Become a member of ``group``. Raises BusUnavailable."""
        await self.wait_ready()
        async with self.speak() as connection:
            member_id = await QUERIES.join_group(
                connection,
                group_name=group,
                topics=sorted(topics),
                session_key=self._key,
                silence_max=self._silence_max,
            )
            member = Membership(member_id, group, topics, wake)
            self._members[member_id] = member
        await self.beat()
        return member

    async def leave(self, member: Membership) -> None:
        """Be a member no more; what it held is free at once. Raises BusUnavailable."""
        if self._members.pop(member.member_id, None) is None:
            return
        async with self.speak() as connection:
            await QUERIES.leave_group(connection, group_name=member.group, member_id=member.member_id)
        self.stir(member.group)
        self._beat_now.set()

    async def beat(self) -> None:
        """Say that our members live, and hear who else does. Raises BusUnavailable."""
        async with self.speak() as connection:
            members = dict(self._members)
            if not members:
                await connection.execute("SELECT 1")
                return
            groups = sorted({member.group for member in members.values()})
            rows = await QUERIES.beat(connection, member_ids=list(members), group_names=groups)
        peers: dict[str, list[Peer]] = defaultdict(list)
        for row in rows:
            peers[row["group_name"]].append(Peer(row["member_id"], frozenset(row["topics"])))
        for member in members.values():
            member.peers = peers[member.group]
            if all(peer.member_id != member.member_id for peer in member.peers):
                self._members.pop(member.member_id, None)
                member.lost = "the group took this member for dead, because it was silent for too long"
            member.stir()

    def stir(self, group: str) -> None:
        """Have the other members of this process in ``group`` look at their partitions."""
        for member in list(self._members.values()):
            if member.group == group:
                member.stir()
