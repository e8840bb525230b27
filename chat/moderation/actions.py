"""What moderators do, whoever asks for it (HTTP, IRC): each in one transaction with its record, then told to the room.

A message is deleted for everybody at the commit: the log shows it no more. Connected clients and history learn it from
an entry, which is told right after the commit; while the broker is away it waits (`telling`).
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog

from chat import metrics, store
from chat.extras.pins import unpin_gone
from chat.log.store import mark_deleted
from chat.moderation import access, audit
from chat.moderation.audit import Target
from chat.moderation.telling import Telling
from chat.problems import AlreadyModerates, NotTheStreamer, NotToBeModerated, TooManyModerators
from chat.rooms.entries import Cleared, Deleted, to_body
from chat.rooms.signals import HeldTouched, RoomTouched, Signals, StandingTouched
from chat.speaking.rules import Rules, read_rules
from eventbus.outbox import Outbox, Transaction
from runtime.postgres import Connection, load_queries
from runtime.tokens import Caller

log = structlog.get_logger(__name__)

QUERIES = load_queries("chat")

MODERATORS_MAX = 200
TIMEOUT_SECONDS_MAX = 14 * 86_400
REASON_CHARACTERS_MAX = 500
STREAMERS_RULES = frozenset({"permanent_log", "log_days"})
"""What is kept, and for how long, is the streamer's to say."""


class Moderation:
    """The use cases. Each raises RoomMissing, and NotAModerator or NotTheStreamer for those who may not."""

    def __init__(self, outbox: Outbox, signals: Signals, telling: Telling) -> None:
        self._outbox = outbox
        self._signals = signals
        self._telling = telling

    async def delete_message(
        self, caller: Caller, channel_id: UUID, message_id: UUID, *, reason: str | None = None
    ) -> None:
        """Take one message away, here and in the log; one that is not there is no error, it may still come."""
        async with self._outbox.transaction() as transaction:
            connection = transaction.connection
            await access.require(connection, channel_id, caller)
            # The record names the author if the log has the message by now.
            said = await QUERIES.find_logged_message(connection, channel_id=channel_id, message_id=message_id)
            author = Target() if said is None else Target(said["user_id"], said["username"])
            await audit.append(
                connection, channel_id, caller, "delete-message", replace(author, message_id=message_id), reason=reason
            )
            await mark_deleted(
                connection, channel_id, message_id=message_id, before=datetime.now(UTC), by=caller.user_id
            )
            await self._unpin(transaction, channel_id, message_id=message_id)
            untold = await self._telling.note(connection, channel_id, to_body(Deleted(message_id=message_id)))
        await self._telling.tell(untold)
        metrics.moderated.labels("delete-message").inc()

    async def clear(self, caller: Caller, channel_id: UUID, *, reason: str | None = None) -> None:
        """Take all messages up to now away."""
        async with self._outbox.transaction() as transaction:
            connection = transaction.connection
            await access.require(connection, channel_id, caller)
            await audit.append(connection, channel_id, caller, "clear", reason=reason)
            now = datetime.now(UTC)
            await mark_deleted(connection, channel_id, before=now, by=caller.user_id)
            await self._unpin(transaction, channel_id)
            untold = await self._telling.note(connection, channel_id, to_body(Cleared(cleared_at=now)))
        await self._telling.tell(untold)
        metrics.moderated.labels("clear").inc()

    async def silence(
        self, caller: Caller, channel_id: UUID, user_id: UUID, *, seconds: int | None, reason: str | None = None
    ) -> datetime | None:
        """Time somebody out for ``seconds``, or (None) ban them, and take away what they said. Answers until when.

        What of theirs waits for a moderator is denied. Raises NotToBeModerated for the streamer, oneself, and, unless
        the caller is the streamer, for moderators.
        """
        async with self._outbox.transaction() as transaction:
            connection = transaction.connection
            rank = await access.require(connection, channel_id, caller)
            await self._check_target(connection, channel_id, caller, rank, user_id)
            row = await QUERIES.put_ban(
                connection,
                channel_id=channel_id,
                user_id=user_id,
                seconds=seconds,
                reason=reason,
                banned_by=caller.user_id,
            )
            name = await QUERIES.find_name(connection, user_id=user_id)
            action: audit.Action = "ban" if seconds is None else "timeout"
            await audit.append(
                connection,
                channel_id,
                caller,
                action,
                Target(user_id, name),
                reason=reason,
                particulars={} if seconds is None else {"seconds": seconds},
            )
            now = datetime.now(UTC)
            await mark_deleted(connection, channel_id, user_id=user_id, before=now, by=caller.user_id)
            await self._unpin(transaction, channel_id, user_id=user_id)
            if await QUERIES.drop_held_of(
                connection, channel_id=channel_id, user_id=user_id, decided_by=caller.user_id
            ):
                transaction.after_commit(lambda: self._signals.touch(channel_id, HeldTouched()))
            # The entry also has gateways look up what that person may do now.
            cleared = Cleared(user_id=user_id, username=name, seconds=seconds or 0, cleared_at=now)
            untold = await self._telling.note(connection, channel_id, to_body(cleared))
        await self._telling.tell(untold)
        metrics.moderated.labels(action).inc()
        until: datetime | None = row["until"]
        return until

    async def lift(self, caller: Caller, channel_id: UUID, user_id: UUID) -> bool:
        """Let somebody speak again; False if they were not silenced."""
        async with self._outbox.transaction() as transaction:
            connection = transaction.connection
            await access.require(connection, channel_id, caller)
            if not await QUERIES.lift_ban(connection, channel_id=channel_id, user_id=user_id):
                return False
            await audit.append(connection, channel_id, caller, "unban", Target(user_id))
            transaction.after_commit(lambda: self._signals.touch(channel_id, StandingTouched(user_id=user_id)))
        metrics.moderated.labels("unban").inc()
        return True

    async def add_moderator(self, caller: Caller, channel_id: UUID, user_id: UUID) -> None:
        """Have somebody moderate; a ban of theirs ends. Only the streamer may.

        Raises AlreadyModerates for the streamer, TooManyModerators.
        """
        async with self._outbox.transaction() as transaction:
            connection = transaction.connection
            await access.require(connection, channel_id, caller, streamer=True)
            if user_id == channel_id:
                raise AlreadyModerates("the streamer may everything in this room")
            await QUERIES.moderate_alone(connection, channel_id=channel_id)
            if await QUERIES.is_moderator(connection, channel_id=channel_id, user_id=user_id):
                return
            if not await QUERIES.add_moderator(
                connection,
                channel_id=channel_id,
                user_id=user_id,
                added_by=caller.user_id,
                moderators_max=MODERATORS_MAX,
            ):
                raise TooManyModerators(
                    f"a room has at most {MODERATORS_MAX} moderators", moderators_max=MODERATORS_MAX
                )
            await QUERIES.lift_ban(connection, channel_id=channel_id, user_id=user_id)
            await audit.append(connection, channel_id, caller, "add-moderator", Target(user_id))
            transaction.after_commit(lambda: self._signals.touch(channel_id, StandingTouched(user_id=user_id)))

    async def remove_moderator(self, caller: Caller, channel_id: UUID, user_id: UUID) -> None:
        """Have somebody moderate no more: the streamer may, and moderators for themselves."""
        async with self._outbox.transaction() as transaction:
            connection = transaction.connection
            await access.require(connection, channel_id, caller, streamer=caller.user_id != user_id)
            if not await QUERIES.remove_moderator(connection, channel_id=channel_id, user_id=user_id):
                return
            await audit.append(connection, channel_id, caller, "remove-moderator", Target(user_id))
            transaction.after_commit(lambda: self._signals.touch(channel_id, StandingTouched(user_id=user_id)))

    async def change_rules(self, caller: Caller, channel_id: UUID, changes: Mapping[str, Any]) -> Rules:
        """Change the given rules, leave the others; the rules as they are now.

        ``changes`` are fields of `Rules` with valid values. Raises NotTheStreamer for a moderator who changes what is
        kept.
        """
        async with self._outbox.transaction() as transaction:
            connection = transaction.connection
            rank = await access.require(connection, channel_id, caller)
            before = read_rules(await QUERIES.lock_rules(connection, channel_id=channel_id))
            rules = Rules.model_validate({**before.model_dump(), **changes})
            changed = {name: value for name, value in rules.model_dump().items() if value != getattr(before, name)}
            if not changed:
                return rules
            if rank != "streamer" and STREAMERS_RULES & changed.keys():
                raise NotTheStreamer("what is kept of the room, and for how long, is the streamer's to say")
            await QUERIES.keep_rules(
                connection, channel_id=channel_id, rules=rules.model_dump_json(exclude_defaults=True)
            )
            await store.touch_room(connection, channel_id)
            await audit.append(connection, channel_id, caller, "change-rules", particulars=changed)
            transaction.after_commit(lambda: self._signals.touch(channel_id, RoomTouched()))
        metrics.moderated.labels("change-rules").inc()
        return rules

    async def followers_only(self, caller: Caller, channel_id: UUID, minutes: int | None) -> Rules:
        """Let only those write who have followed for so long (0: any follower); None: everybody."""
        return await self.change_rules(caller, channel_id, {"followers_only_minutes": minutes})

    async def _unpin(
        self, transaction: Transaction, channel_id: UUID, *, message_id: UUID | None = None, user_id: UUID | None = None
    ) -> None:
        if await unpin_gone(transaction.connection, channel_id, message_id=message_id, user_id=user_id):
            transaction.after_commit(lambda: self._signals.touch(channel_id, RoomTouched()))

    async def _check_target(
        self, connection: Connection, channel_id: UUID, caller: Caller, rank: access.Rank, user_id: UUID
    ) -> None:
        if user_id == caller.user_id:
            raise NotToBeModerated("nobody silences themselves")
        if user_id == channel_id:
            raise NotToBeModerated("the streamer cannot be silenced")
        if rank != "streamer" and await QUERIES.is_moderator(connection, channel_id=channel_id, user_id=user_id):
            raise NotToBeModerated("only the streamer silences a moderator")
