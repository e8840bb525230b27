"""Compares a media server's answers with the sessions that streams listen to: who is there, who is missing, who is new.

Pure: times are given; durations by the process's clock, moments by the database's. One answer decides nothing against
anybody. Only who is missing from every answer over a while, or is nobody's in all of them, is named; an answer that did
not come, or came late, begins that while anew. Where the media server has restarted, an old session's number may be
another's: the age of the connection tells.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from streaming.ingest.commands import Session
from streaming.lifecycle.lifecycle import Status
from streaming.servers.media_server import Publisher, is_connection_of

GAP_SECONDS_MAX: Final = 6.0  # between two answers; longer, and too much may have gone unseen


@dataclass(frozen=True, slots=True)
class Listened:
    """The session that an open stream listens to."""

    stream_id: UUID
    session: Session
    session_started_at: datetime
    seen_at: datetime
    status: Status


@dataclass(frozen=True, slots=True)
class Findings:
    """What one answer comes to, together with those before it."""

    present: Sequence[Listened] = ()
    """The media server has them."""
    absent: Sequence[Listened] = ()
    """It has been without them for a while."""
    strangers: Sequence[Publisher] = ()
    """It has had them for a while, and no stream listens to them."""


@dataclass(slots=True)
class Looks:
    """What one process remembers of one media server's answers: no more than its sessions and its publishers."""

    sure_after_seconds: float
    _last_look: float = float("-inf")
    _missing: dict[tuple[UUID, Session], float] = field(default_factory=dict)
    _strange: dict[str, float] = field(default_factory=dict)

    def forget(self) -> None:
        """The media server was not asked, or gave no answer: what it said before proves nothing any more."""
        self._missing.clear()
        self._strange.clear()

    def compare(
        self, publishers: Sequence[Publisher], sessions: Sequence[Listened], *, asked_at: datetime, now: float
    ) -> Findings:
        """The findings of an answer asked for at `asked_at`; `sessions` are this server's, read after it came."""
        if now - self._last_look > GAP_SECONDS_MAX:
            self.forget()
        self._last_look = now
        by_client = {publisher.client: publisher for publisher in publishers}
        of_publisher: dict[str, Listened] = {}
        for listened in sessions:
            publisher = by_client.get(listened.session.client)
            if publisher is not None and _is_of(publisher, listened, asked_at):
                rival = of_publisher.setdefault(publisher.client, listened)
                if _distance(publisher, listened, asked_at) < _distance(publisher, rival, asked_at):
                    of_publisher[publisher.client] = listened
        present = list(of_publisher.values())
        missing = [one for one in sessions if of_publisher.get(one.session.client) is not one]
        for client in of_publisher:
            del by_client[client]
        self._missing = {_key(one): self._missing.get(_key(one), now) for one in missing}
        self._strange = {client: self._strange.get(client, now) for client in by_client}
        return Findings(
            present,
            [one for one in missing if now - self._missing[_key(one)] >= self.sure_after_seconds],
            [by_client[client] for client, since in self._strange.items() if now - since >= self.sure_after_seconds],
        )

    def spare(self, client: str) -> None:
        """Whether it was dropped or not, a stranger is named again only if it stays for as long again."""
        self._strange.pop(client, None)


def _key(listened: Listened) -> tuple[UUID, Session]:
    return listened.stream_id, listened.session


def _distance(publisher: Publisher, listened: Listened, asked_at: datetime) -> float:
    """Seconds between a connection's beginning and a session's publish, which follows it at once."""
    accepted = (asked_at - listened.session_started_at).total_seconds()
    return abs((publisher.publishing_seconds or 0.0) - accepted)


def _is_of(publisher: Publisher, listened: Listened, asked_at: datetime) -> bool:
    accepted = (asked_at - listened.session_started_at).total_seconds()
    return is_connection_of(publisher, listened.session, accepted_seconds_ago=accepted)
