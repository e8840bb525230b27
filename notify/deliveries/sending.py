"""Sending what a worker has claimed: providers take turns, each with a bounded share of the sends at once."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta

import structlog

from notify.deliveries import attempts, metrics
from notify.deliveries.breaker import Breakers
from notify.deliveries.delivery import Channel, Failed, Outcome, ProviderBusy
from notify.deliveries.lines import Leased, Lines
from notify.deliveries.results import Result, pause_after
from notify.deliveries.settings import DeliverySettings
from notify.deliveries.settling import Settler
from notify.deliveries.store import Pause

log = structlog.get_logger(__name__)


class Senders:
    """Sends, and hands what came of it to the settler."""

    def __init__(self, channel: Channel, settler: Settler, settings: DeliverySettings) -> None:
        self._channel = channel.name.value
        self._settler = settler
        self._seconds_max = settings.notify_delivery_send_seconds_max
        self._sends_max = settings.notify_delivery_sends_max
        self._lines = Lines(
            room_max=settings.notify_delivery_batch_max,
            sends_per_provider_max=min(settings.notify_delivery_sends_per_provider_max, self._sends_max),
        )
        self._breakers = Breakers(
            failures_max=settings.notify_delivery_failures_max,
            pause_max=timedelta(seconds=settings.notify_delivery_pause_seconds_max),
        )
        self._senders: set[asyncio.Task[None]] = set()
        self._observe_seconds = metrics.send_seconds.labels(self._channel).observe
        self.broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Raises what none of this should ever raise."""

    def rooms(self) -> Mapping[str, int]:
        """By provider: how many more may be claimed for it; those that are not in it: any number."""
        return dict(self._lines.rooms(self._now()))

    def is_paused(self, provider: str) -> bool:
        """Whether a provider is left alone."""
        return self._lines.is_paused(provider, self._now())

    def heard(self, pauses: Sequence[Pause]) -> None:
        """Take over what all workers together know: who fails, and who is left alone at the moment."""
        self._breakers.heard({one.provider: one.failures for one in pauses if one.failures})
        for one in pauses:
            if one.seconds > 0 and self._lines.has(one.provider):
                self._give_back(self._lines.pause(one.provider, self._now() + one.seconds))

    def send(self, ready: Sequence[Leased]) -> None:
        """Send prepared deliveries when it is their turn."""
        self._lines.add(ready)
        wanted = min(self._lines.waiting + len(self._senders), self._sends_max)
        for _ in range(wanted - len(self._senders)):
            sender = asyncio.create_task(self._send_in_turn())
            self._senders.add(sender)
            sender.add_done_callback(self._ended)

    async def finish(self, grace_seconds: float) -> None:
        """Begin nothing more, and let what is under way end; what does not in time is given back."""
        self._give_back(self._lines.give_back_all())
        if not self._senders:
            return
        _, late = await asyncio.wait(self._senders, timeout=grace_seconds)
        for sender in late:
            sender.cancel()
        if late:
            await asyncio.wait(late)

    async def _send_in_turn(self) -> None:
        while (leased := self._lines.next()) is not None:
            outcome: Outcome | None = None
            began = self._now()
            try:
                if began > leased.start_by or leased.sending is None:
                    self._give_back(self._lines.give_back_late(leased))
                else:
                    outcome = await attempts.send(leased.sending, seconds_max=self._seconds_max)
                    self._observe_seconds(self._now() - began)
            finally:
                # also when it is cancelled at the end of the process: sent or not, nobody knows, so it is sent again
                self._lines.done(leased.delivery.provider)
                self._settler.note([Result(leased, outcome)])
            if outcome is not None:
                self._judge(leased.delivery.provider, outcome)

    def _judge(self, provider: str, outcome: Outcome) -> None:
        """What an outcome says of the provider."""
        if isinstance(outcome, Failed) and self.is_paused(provider):
            return  # it was under way when the pause began: it is no probe, and says nothing that is not known
        pause = pause_after(outcome, provider, self._breakers)
        if pause is not None:
            self._settler.pause(pause)
            self._give_back(self._lines.pause(provider, self._now() + pause.seconds))
            log.info(
                "provider_paused",
                channel=self._channel,
                provider=provider,
                seconds=round(pause.seconds, 1),
                failures=pause.failures,
                reason=pause.reason,
            )
        elif not isinstance(outcome, Failed | ProviderBusy) and self._breakers.worked(provider):
            self._settler.resume(provider)
            log.info("provider_resumed", channel=self._channel, provider=provider)

    def _give_back(self, unsent: Sequence[Leased]) -> None:
        if unsent:
            self._settler.note([Result(one, None) for one in unsent])

    def _ended(self, sender: "asyncio.Task[None]") -> None:
        self._senders.discard(sender)
        if not sender.cancelled() and (error := sender.exception()) is not None and not self.broken.done():
            self.broken.set_exception(error)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
