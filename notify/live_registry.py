"""Who is connected to this process, and which of them is told of a channel.

A notice goes to one shard of clients after the other, with a turn of the event loop in between, so that a large channel
holds up nothing else in the process.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from uuid import UUID

from notify import metrics
from notify.errors import LiveConnectionsFull, TooManyConnections
from notify.live_client import Following, LiveClient
from notify.live_forms import LiveNotice
from notify.notices import Notice

RETRY_AFTER_SECONDS = 5
CLIENTS_PER_SHARD = 500
"""Some milliseconds of writing."""


class LiveRegistry:
    """The clients of this process by person and by channel."""

    def __init__(self, *, connections_max: int, connections_per_user_max: int) -> None:
        self._connections_max = connections_max
        self._connections_per_user_max = connections_per_user_max
        self._is_closed = False
        self._clients: set[LiveClient] = set()
        self._by_user: dict[UUID, list[LiveClient]] = {}
        self._by_channel: defaultdict[UUID, dict[LiveClient, Following]] = defaultdict(dict)
        self._changes: dict[LiveClient, dict[UUID, Following | None]] = {}

    def __len__(self) -> int:
        return len(self._clients)

    def admit(self, client: LiveClient) -> None:
        """Take a client in; until `listen` its changes of follows are only collected.

        Raises TooManyConnections, LiveConnectionsFull.
        """
        if self._is_closed or len(self) >= self._connections_max:
            raise LiveConnectionsFull(
                f"this gateway takes {self._connections_max} live connections", retry_after_seconds=RETRY_AFTER_SECONDS
            )
        own = self._by_user.get(client.user_id, [])
        if len(own) >= self._connections_per_user_max:
            limit = self._connections_per_user_max
            raise TooManyConnections(
                f"one person has at most {limit} live connections here", retry_after_seconds=RETRY_AFTER_SECONDS
            )
        self._by_user[client.user_id] = [*own, client]
        self._changes[client] = {}
        self._clients.add(client)
        metrics.live_connections.set(len(self))

    def listen(self, client: LiveClient, follows: Mapping[UUID, Following]) -> None:
        """Let a client hear of the channels that were read for it, corrected by what changed during the reading."""
        current: dict[UUID, Following | None] = {**follows, **self._changes.pop(client, {})}
        if client not in self._clients:  # it left while its follows were read
            return
        for channel_id in client.follows.keys() - current.keys():
            self._change(client, channel_id, None)
        for channel_id, following in current.items():
            self._change(client, channel_id, following)

    def expect_follows(self, clients: Sequence[LiveClient]) -> None:
        """Collect changes for clients whose follows are about to be read again."""
        for client in clients:
            self._changes.setdefault(client, {})

    def dismiss(self, client: LiveClient) -> None:
        """Forget a client."""
        if client not in self._clients:
            return
        self._clients.remove(client)
        self._changes.pop(client, None)
        own = [other for other in self._by_user.pop(client.user_id) if other is not client]
        if own:
            self._by_user[client.user_id] = own
        for channel_id in list(client.follows):
            self._change(client, channel_id, None)
        metrics.live_connections.set(len(self))

    def change_follow(self, follower_id: UUID, channel_id: UUID, following: Following | None) -> None:
        """Somebody is told of a channel as `following` says, or (None) no longer."""
        for client in self._by_user.get(follower_id, ()):
            if client in self._changes:
                self._changes[client][channel_id] = following
            self._change(client, channel_id, following)

    async def tell(self, notice: Notice) -> int:
        """Offer a notice to the connected followers; how many they are."""
        return await self._offer(LiveNotice(notice), stored=False)

    async def tell_stored(self, notice: Notice) -> int:
        """Offer a notice that now is in the inboxes to those connected followers who might not have got it."""
        return await self._offer(LiveNotice(notice), stored=True)

    def clients_by_user(self, users_max: int) -> Iterator[list[LiveClient]]:
        """All clients, in lists that hold those of at most `users_max` people."""
        users = iter(list(self._by_user.values()))
        while batch := list(islice(users, users_max)):
            yield [client for clients in batch for client in clients]

    def clients_of(self, people: AbstractSet[UUID], users_max: int) -> Iterator[list[LiveClient]]:
        """The clients of these people, in lists that hold those of at most `users_max` of them."""
        users = iter([self._by_user[user_id] for user_id in people if user_id in self._by_user])
        while batch := list(islice(users, users_max)):
            yield [client for clients in batch for client in clients]

    def is_connected(self, user_id: UUID) -> bool:
        """Whether somebody has a connection here."""
        return user_id in self._by_user

    def close(self, reason: str) -> None:
        """End every connection, and let nobody in any more."""
        self._is_closed = True
        for client in list(self._clients):
            client.cut(reason)

    async def _offer(self, live: LiveNotice, *, stored: bool) -> int:
        followers = self._by_channel.get(live.notice.channel_id)
        if followers is None:
            return 0
        concerned = [client for client, following in followers.items() if _concerns(following, live)]
        for start in range(0, len(concerned), CLIENTS_PER_SHARD):
            if start:
                await asyncio.sleep(0)
            for client in concerned[start : start + CLIENTS_PER_SHARD]:
                if stored:
                    client.offer_stored(live)
                else:
                    client.offer(live)
        return len(concerned)

    def _change(self, client: LiveClient, channel_id: UUID, following: Following | None) -> None:
        if following is not None:
            client.follows[channel_id] = following
            self._by_channel[channel_id][client] = following
            return
        client.follows.pop(channel_id, None)
        followers = self._by_channel.get(channel_id)
        if followers is not None:
            followers.pop(client, None)
            if not followers:
                del self._by_channel[channel_id]


def _concerns(following: Following | None, live: LiveNotice) -> bool:
    # As in the inbox: who followed after the start is not told of it.
    return following is not None and following.since <= live.notice.created_at and following.wants.include(live.notice)
