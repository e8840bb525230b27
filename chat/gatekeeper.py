"""Decides whether somebody may say something in a room: by their standing and the room's rules."""

from chat.broker import Allowance, Conditions
from chat.facts import RoomFacts
from chat.speaking import Refused, Saying
from chat.standing import Standing
from runtime.tokens import Caller

PACE_SECONDS = 60.0


class RulesGatekeeper:
    """Holds everybody but moderators to the rules."""

    def __init__(self, *, messages_per_minute: int) -> None:
        self._messages_per_minute = messages_per_minute

    async def admit(self, facts: RoomFacts, speaker: Caller, standing: Standing, saying: Saying) -> Conditions:
        """What must hold over all gateways for it to be published; raises Refused."""
        if saying.kind == "announcement" and not standing.moderates:
            raise Refused("moderators-only", "announcements are for moderators")
        per_minute = facts.rules.messages_per_minute or self._messages_per_minute
        return Conditions((Allowance("pace", str(speaker.user_id), per_minute, PACE_SECONDS),))
