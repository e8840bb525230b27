"""The gatekeeper: which refusal somebody gets in which room, and what is left for the broker to check."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

import pytest

from chat.brokers.broker import Allowance, Conditions
from chat.errors import RoomsUnavailable
from chat.rooms.facts import BlockedTerm, RoomFacts
from chat.speaking.gatekeeper import MODERATORS_PACE_FACTOR, RulesGatekeeper
from chat.speaking.rules import Rules, read_rules
from chat.speaking.speaking import Refused, Saying
from chat.speaking.standing import FOR_GOOD, Standing
from runtime.ids import uuid7
from runtime.tokens import Caller

NOW = datetime.now(UTC)
ANN = Caller(uuid7(), "ann")
VIEWER = Standing(registered_at=NOW - timedelta(days=400), known_as="ann")
PACE = 10


class Known:
    """Standings of one person, who may follow from the second look on."""

    def __init__(self, *found: Standing | RoomsUnavailable) -> None:
        self._found = list(found)
        self.asked = 0

    async def find(self, room: UUID, user: UUID) -> Standing:
        self.asked += 1
        found = self._found.pop(0) if len(self._found) > 1 else self._found[0]
        if isinstance(found, RoomsUnavailable):
            raise found
        return found


class Held:
    """Remembers what was held."""

    def __init__(self) -> None:
        self.texts: list[tuple[str, str]] = []

    async def hold(self, room: UUID, speaker: Caller, saying: Saying, term: str) -> None:
        self.texts.append((saying.text, term))


class Noted:
    """Remembers whose names were noted."""

    def __init__(self) -> None:
        self.names: list[str] = []

    async def note(self, person: Caller) -> None:
        self.names.append(person.name)


Value: TypeAlias = Any  # whatever a rule may be


def facts(terms: Sequence[BlockedTerm] = (), emotes: Sequence[str] = (), **rules: Value) -> RoomFacts:
    return RoomFacts(
        uuid7(),
        "ann",
        None,
        rules=Rules.model_validate(rules),
        emotes=dict.fromkeys(emotes, "url"),
        blocked_terms=terms,
    )


async def admit(
    room: RoomFacts, text: str = "hello", standing: Standing = VIEWER, gatekeeper: RulesGatekeeper | None = None
) -> Conditions:
    keeper = gatekeeper or RulesGatekeeper(messages_per_minute=PACE)
    return await keeper.admit(room, ANN, standing, Saying("1", text))


async def refusal(
    room: RoomFacts, text: str = "hello", standing: Standing = VIEWER, gatekeeper: RulesGatekeeper | None = None
) -> Refused:
    with pytest.raises(Refused) as refused:
        await admit(room, text, standing, gatekeeper)
    return refused.value


async def test_an_open_room_asks_for_the_pace_alone() -> None:
    assert await admit(facts()) == Conditions((Allowance("pace", str(ANN.user_id), PACE, 60.0),))


async def test_slow_mode_and_a_pace_of_the_room_are_left_to_the_broker() -> None:
    conditions = await admit(facts(slow_seconds=30, messages_per_minute=3))
    assert conditions.allowances == (
        Allowance("pace", str(ANN.user_id), 3, 60.0),
        Allowance("slow-mode", str(ANN.user_id), 1, 30.0),
    )


async def test_unique_mode_knows_a_text_in_any_case_and_spacing() -> None:
    room = facts(unique_messages=True)
    digests = {(await admit(room, text)).unique for text in ("Hello  World", "hello world", "ｈｅｌｌｏ WORLD")}
    assert len(digests) == 1
    assert None not in digests
    assert (await admit(room, "hello, world")).unique not in digests


async def test_whoever_is_silenced_is_told_for_how_long() -> None:
    strict = facts(moderators_only=True)  # whatever else would stand against it
    banned = await refusal(strict, "x" * 500, Standing(banned_until=FOR_GOOD, banned=True))
    assert (banned.code, banned.retry_after_seconds) == ("banned", None)
    timed_out = await refusal(strict, "x" * 500, Standing(banned_until=datetime.now(UTC) + timedelta(seconds=100)))
    assert timed_out.code == "timed-out"
    assert timed_out.retry_after_seconds == pytest.approx(100, abs=30)


async def test_a_timeout_ends_by_itself() -> None:
    await admit(facts(), standing=replace(VIEWER, banned_until=NOW - timedelta(seconds=1)))


@pytest.mark.parametrize(
    ("rules", "code"),
    [({"moderators_only": True}, "moderators-only"), ({"subscribers_only": True}, "subscribers-only")],
)
async def test_rooms_for_some_are_for_these_alone(rules: dict[str, Any], code: str) -> None:
    assert (await refusal(facts(**rules))).code == code
    await admit(facts(**rules), standing=replace(VIEWER, role="moderator"))


async def test_subscribers_write_where_only_subscribers_write() -> None:
    await admit(facts(subscribers_only=True), standing=replace(VIEWER, role="subscriber"))


async def test_followers_have_to_have_followed_for_as_long_as_the_room_says() -> None:
    room = facts(followers_only_minutes=60)
    follows = replace(VIEWER, followed_at=datetime.now(UTC) - timedelta(minutes=40))
    refused = await refusal(room, standing=follows)
    assert refused.code == "followers-only"
    assert "20 minutes" in refused.detail
    assert refused.retry_after_seconds == pytest.approx(1_200, abs=5)
    await admit(room, standing=replace(follows, followed_at=NOW - timedelta(minutes=61)))
    await admit(facts(followers_only_minutes=0), standing=follows)


async def test_whoever_follows_by_now_is_found_without_coming_again_but_not_looked_for_all_the_time() -> None:
    room = facts(followers_only_minutes=0)
    later = Known(VIEWER, replace(VIEWER, followed_at=NOW))
    gatekeeper = RulesGatekeeper(messages_per_minute=PACE, standings=later)
    for _ in range(20):
        assert (await refusal(room, gatekeeper=gatekeeper)).code == "followers-only"
    assert later.asked == 1
    followed = Known(replace(VIEWER, followed_at=NOW))
    await admit(room, gatekeeper=RulesGatekeeper(messages_per_minute=PACE, standings=followed))
    away = Known(RoomsUnavailable("away"))
    keeper = RulesGatekeeper(messages_per_minute=PACE, standings=away)
    assert (await refusal(room, gatekeeper=keeper)).code == "followers-only"


async def test_accounts_have_to_be_as_old_as_the_room_says() -> None:
    room = facts(account_age_minutes=60)
    assert (await refusal(room, standing=replace(VIEWER, registered_at=None))).code == "account-too-young"
    young = await refusal(room, standing=replace(VIEWER, registered_at=datetime.now(UTC) - timedelta(minutes=10)))
    assert young.code == "account-too-young"
    assert young.retry_after_seconds == pytest.approx(3_000, abs=5)
    await admit(room)


async def test_who_may_not_write_is_told_before_what_is_wrong_with_the_text() -> None:
    room = facts(message_characters_max=3, followers_only_minutes=0, links=False)
    assert (await refusal(room, "http://long.example.com")).code == "followers-only"


@pytest.mark.parametrize(
    ("rules", "text", "code"),
    [
        ({"message_characters_max": 4}, "hello", "too-long"),
        ({"links": False}, "look at example.com", "links-not-allowed"),
        ({"emote_only": True}, "Kappa hello", "emote-only"),
    ],
)
async def test_texts_are_held_to_the_rules(rules: dict[str, Any], text: str, code: str) -> None:
    assert (await refusal(facts(emotes=["Kappa"], **rules), text)).code == code
    await admit(facts(emotes=["Kappa"]), text)


async def test_emotes_alone_pass_where_only_emotes_pass() -> None:
    await admit(facts(emotes=["Kappa", "Pog"], emote_only=True), "Kappa  Pog Kappa")


async def test_blocked_terms_refuse_or_hold_and_refusing_comes_first() -> None:
    room = facts(terms=(BlockedTerm("maybe", hold=True), BlockedTerm("never", hold=False)))
    held = Held()
    gatekeeper = RulesGatekeeper(messages_per_minute=PACE, holding=held)
    assert (await refusal(room, "never, maybe", gatekeeper=gatekeeper)).code == "blocked-term"
    assert held.texts == []
    assert (await refusal(room, "well, maybe", gatekeeper=gatekeeper)).code == "held"
    assert held.texts == [("well, maybe", "maybe")]
    await admit(room, "fine", gatekeeper=gatekeeper)
    assert (await refusal(room, "maybe")).code == "blocked-term"  # nobody is there who could hold it


async def test_moderators_and_the_streamer_are_bound_by_none_of_it_but_do_not_flood() -> None:
    room = facts(
        terms=(BlockedTerm("never", hold=False),), moderators_only=True, slow_seconds=600, links=False,
        unique_messages=True, emote_only=True, account_age_minutes=9_999, followers_only_minutes=9,
        messages_per_minute=1,
    )  # fmt: skip
    for role in ("moderator", "streamer"):
        conditions = await admit(room, "never http://x.com", Standing(role=role))
        assert conditions == Conditions((Allowance("pace", str(ANN.user_id), PACE * MODERATORS_PACE_FACTOR, 60.0),))


async def test_announcements_are_for_moderators() -> None:
    gatekeeper = RulesGatekeeper(messages_per_minute=PACE)
    saying = Saying("1", "hear", "announcement")
    with pytest.raises(Refused, match="moderators"):
        await gatekeeper.admit(facts(), ANN, VIEWER, saying)
    await gatekeeper.admit(facts(), ANN, Standing(role="moderator"), saying)


async def test_names_are_noted_of_those_who_speak_under_one_that_is_not_known() -> None:
    noted = Noted()
    gatekeeper = RulesGatekeeper(messages_per_minute=PACE, people=noted)
    await admit(facts(), gatekeeper=gatekeeper)
    assert noted.names == []
    await admit(facts(), standing=replace(VIEWER, known_as="ann_before"), gatekeeper=gatekeeper)
    assert noted.names == ["ann"]


def test_stored_rules_are_read_by_older_and_newer_processes() -> None:
    kept = Rules(slow_seconds=5, followers_only_minutes=0)
    assert read_rules(kept.model_dump_json(exclude_defaults=True)) == kept
    assert read_rules('{"slow_seconds": 5, "of_tomorrow": true}') == Rules(slow_seconds=5)
