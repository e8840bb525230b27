"""Decides whether somebody may say something in a room: by their standing and the room's rules.

What binds the person comes first, then what is wrong with the text, so that nobody rewrites a message that they may not
send at all. Moderators are bound by none of it; a wide allowance is there for them too, so that a stolen account or a
bot does not flood the room. Pace, slow mode and uniqueness are checked over all gateways, by the broker.
"""

import asyncio
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from typing import Protocol
from uuid import UUID

import structlog

from chat import metrics
from chat.brokers.broker import Allowance, Conditions, Unique
from chat.errors import RoomsUnavailable
from chat.moderation.folding import digest_of
from chat.moderation.links import has_link
from chat.moderation.terms import TermsOfRooms
from chat.rooms.facts import BlockedTerm, RoomFacts
from chat.speaking.rules import Rules
from chat.speaking.speaking import Refused, Saying
from chat.speaking.standing import OwnersAlone, Standing, Standings
from runtime.tokens import Caller

log = structlog.get_logger(__name__)

PACE_SECONDS = 60.0
MODERATORS_PACE_FACTOR = 10
UNIQUE_SECONDS = 600.0
FOLLOW_ASKED_AGAIN_SECONDS = 5.0
FOLLOWS_REMEMBERED_MAX = 10_000


class Holding(Protocol):
    """Takes messages that a moderator is to look at first."""

    async def hold(self, room: UUID, speaker: Caller, saying: Saying, term: str) -> None:
        """Keep it, once for a ``send_id``; raises Refused when it is decided already, or too many wait."""
        ...


class People(Protocol):
    """Remembers the names of those who speak."""

    async def note(self, person: Caller) -> None:
        """Keep somebody's name; must not fail."""
        ...


class RulesGatekeeper:
    """Holds everybody but moderators to the rules."""

    def __init__(
        self,
        *,
        messages_per_minute: int,
        standings: Standings | None = None,
        holding: Holding | None = None,
        people: People | None = None,
    ) -> None:
        """Without ``holding`` what would be held is refused; ``standings`` is asked whether somebody follows by now."""
        self._messages_per_minute = messages_per_minute
        self._follows = Follows(standings or OwnersAlone())
        self._holding = holding
        self._people = people
        self._terms = TermsOfRooms()

    async def admit(self, facts: RoomFacts, speaker: Caller, standing: Standing, saying: Saying) -> Conditions:
        """What must hold over all gateways for it to be published; raises Refused."""
        try:
            conditions = await self._admit(facts, speaker, standing, saying)
        except Refused as refused:
            metrics.sends_refused.labels(refused.code).inc()
            raise
        if self._people is not None and standing.known_as != speaker.name:
            await self._people.note(speaker)
        return conditions

    async def _admit(self, facts: RoomFacts, speaker: Caller, standing: Standing, saying: Saying) -> Conditions:
        rules, now = facts.rules, datetime.now(UTC)
        check_silence(standing, now)
        per_minute = rules.messages_per_minute or self._messages_per_minute
        sender = str(speaker.user_id)
        if standing.moderates:
            wide = max(per_minute, self._messages_per_minute) * MODERATORS_PACE_FACTOR
            return Conditions((Allowance("pace", sender, wide, PACE_SECONDS),))
        if saying.kind == "announcement":
            raise Refused("moderators-only", "announcements are for moderators")
        followed_at = standing.followed_at
        if rules.followers_only_minutes is not None and followed_at is None:
            followed_at = await self._follows.since(facts.channel_id, speaker.user_id)
        check_person(rules, standing, followed_at, now)
        term = check_text(facts, saying.text, self._terms)
        if term is not None:
            await self._hold(facts.channel_id, speaker, saying, term)
        allowances = [Allowance("pace", sender, per_minute, PACE_SECONDS)]
        if rules.slow_seconds:
            allowances.append(Allowance("slow-mode", sender, 1, float(rules.slow_seconds)))
        unique = Unique(digest_of(saying.text), UNIQUE_SECONDS) if rules.unique_messages else None
        return Conditions(tuple(allowances), unique)

    async def _hold(self, room: UUID, speaker: Caller, saying: Saying, term: BlockedTerm) -> None:
        if not term.hold or self._holding is None:
            raise Refused("blocked-term", "this room does not want a word in this message")
        await self._holding.hold(room, speaker, saying, term.term)
        raise Refused("held", "a moderator looks at this message first")


def check_silence(standing: Standing, now: datetime) -> None:
    """Raise Refused for those who are banned or timed out."""
    if standing.banned:
        raise Refused("banned", "you are banned from this room")
    if standing.banned_until is not None and standing.banned_until > now:
        left = (standing.banned_until - now).total_seconds()
        raise Refused("timed-out", f"you are timed out for {_spoken(left)} more", left)


def check_person(rules: Rules, standing: Standing, followed_at: datetime | None, now: datetime) -> None:
    """Raise Refused for those who may not write here (now), whatever they write."""
    if rules.moderators_only:
        raise Refused("moderators-only", "only moderators write in this room now")
    if rules.subscribers_only and standing.role != "subscriber":
        raise Refused("subscribers-only", "only subscribers write in this room now")
    if rules.followers_only_minutes is not None:
        _check_follower(rules.followers_only_minutes, followed_at, now)
    if rules.account_age_minutes:
        _check_account(rules.account_age_minutes, standing.registered_at, now)


def check_text(facts: RoomFacts, text: str, terms: TermsOfRooms) -> BlockedTerm | None:
    """Raise Refused for a text that the rules do not allow; a blocked term that is in it, if that is all."""
    rules = facts.rules
    if len(text) > rules.message_characters_max:
        raise Refused("too-long", f"messages have at most {rules.message_characters_max} characters in this room")
    if rules.emote_only and not all(word in facts.emotes for word in text.split()):
        raise Refused("emote-only", "messages consist of this channel's emotes now")
    if not rules.links and has_link(text):
        raise Refused("links-not-allowed", "links are not allowed in this room")
    return terms.of(facts.channel_id, facts.blocked_terms).find(text) if facts.blocked_terms else None


class Follows:
    """Looks again whether somebody follows by now, at most every few seconds for each."""

    def __init__(self, standings: Standings) -> None:
        self._standings = standings
        self._asked: OrderedDict[tuple[UUID, UUID], tuple[float, datetime | None]] = OrderedDict()

    async def since(self, room: UUID, user: UUID) -> datetime | None:
        """Since when they follow, as far as that is known now."""
        now = asyncio.get_running_loop().time()
        known = self._asked.get((room, user))
        if known is not None and now - known[0] < FOLLOW_ASKED_AGAIN_SECONDS:
            return known[1]
        self._asked[room, user] = (now, None)
        self._asked.move_to_end((room, user))
        if len(self._asked) > FOLLOWS_REMEMBERED_MAX:
            self._asked.popitem(last=False)
        try:
            found = (await self._standings.find(room, user)).followed_at
        except RoomsUnavailable as error:
            log.info("chat_follow_not_looked_up", room=str(room), user_id=str(user), reason=str(error))
            return None
        self._asked[room, user] = (now, found)
        return found


def _check_follower(minutes: int, followed_at: datetime | None, now: datetime) -> None:
    if followed_at is None:
        raise Refused("followers-only", "only followers of this channel write here now")
    left = (followed_at + timedelta(minutes=minutes) - now).total_seconds()
    if left > 0:
        raise Refused("followers-only", f"you have to follow this channel for {_spoken(left)} more", left)


def _check_account(minutes: int, registered_at: datetime | None, now: datetime) -> None:
    if registered_at is None:
        raise Refused("account-too-young", "how old your account is, is not known")
    left = (registered_at + timedelta(minutes=minutes) - now).total_seconds()
    if left > 0:
        raise Refused("account-too-young", f"your account is too young to write here for {_spoken(left)} more", left)


def _spoken(seconds: float) -> str:
    """A time in the largest unit that fits, rounded up."""
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds > 2 * size:
            return f"{int(-seconds // size) * -1} {unit}"
    return f"{max(1, int(-seconds // 1) * -1)} s"
