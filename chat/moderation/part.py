"""Puts together what is about rules and moderation: its endpoints, who follows, and what runs behind them."""

from chat.followers import Followers
from chat.moderation.actions import Moderation
from chat.moderation.api_audit import AuditApi
from chat.moderation.api_held import HeldApi
from chat.moderation.api_messages import MessagesModerationApi
from chat.moderation.api_people import PeopleModerationApi
from chat.moderation.api_rules import RulesApi
from chat.moderation.api_terms import BlockedTermsApi
from chat.moderation.audit import make_partitions
from chat.moderation.held import HeldQueue
from chat.moderation.telling import Telling
from chat.moderation.terms_store import BlockedTerms
from chat.moderation.upkeep import ModerationUpkeep
from chat.parts import ChatParts
from eventbus.consume import ConsumeLoop
from runtime.assembly import Assembly
from runtime.monthly_partitions import MonthlyPartitions


def assemble_moderation(parts: ChatParts) -> Assembly:
    """What moderators do and streamers set."""
    pool, signals = parts.pool, parts.signals
    telling = Telling(pool, parts.broker)
    moderation = Moderation(parts.outbox, signals, telling)
    queue = HeldQueue(
        pool,
        parts.outbox,
        signals,
        telling,
        rooms=parts.rooms,
        composer=parts.composer,
        standings=parts.standings,
    )
    followers = ConsumeLoop(parts.bus, parts.outbox, Followers(signals).subscription(), health=parts.health)
    return Assembly(
        apis=[
            RulesApi(pool, moderation),
            PeopleModerationApi(pool, moderation),
            MessagesModerationApi(moderation),
            BlockedTermsApi(pool, BlockedTerms(parts.outbox, signals)),
            HeldApi(pool, queue),
            AuditApi(pool),
        ],
        services=[
            telling,
            followers,
            ModerationUpkeep(pool, signals, audit_months=parts.settings.chat_audit_months),
            MonthlyPartitions(pool, make_partitions),
        ],
    )
