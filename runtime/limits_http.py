"""Holds requests to the limit of their endpoint, and says in every answer how much of it is left.

The fields are those of draft-ietf-httpapi-ratelimit-headers-10: `RateLimit-Policy: "api";q=1000;w=60` is the limit,
`RateLimit: "api";r=997;t=42` is what is left of it for the next 42 seconds.
"""

import math

from aiohttp import web

from runtime import metrics
from runtime.client_address import ClientAddresses
from runtime.limits import Limit, Limiter, LimiterAway, LimitsNotKept, Verdict
from runtime.problems import TooManyRequests
from runtime.tokens import Caller

AWAY_RETRY_SECONDS = 2

_COUNTED = web.RequestKey("limit_counted", tuple[Limit, Verdict])


class LimitKeeper:
    """Counts requests under their user or their address."""

    def __init__(self, limiter: Limiter, addresses: ClientAddresses) -> None:
        self._limiter = limiter
        self._addresses = addresses

    async def admit(self, limit: Limit, request: web.Request, caller: Caller | None) -> None:
        """Count the request; raises TooManyRequests, or LimitsNotKept if it must be counted and cannot be."""
        try:
            verdict = await self._limiter.take(limit, self._subject(limit, request, caller))
        except LimiterAway as error:
            metrics.limit_checks.labels(limit.name, "away").inc()
            if limit.away == "open":
                return
            raise LimitsNotKept("try again in a moment", retry_after_seconds=AWAY_RETRY_SECONDS) from error
        metrics.limit_checks.labels(limit.name, "allowed" if verdict.allowed else "refused").inc()
        request[_COUNTED] = (limit, verdict)
        if not verdict.allowed:
            raise _too_many(limit, verdict)

    def _subject(self, limit: Limit, request: web.Request, caller: Caller | None) -> str:
        if limit.per == "user" and caller is not None:
            return f"user:{caller.user_id}"
        return f"address:{self._addresses.of(request)}"


async def name_limit(request: web.Request, response: web.StreamResponse) -> None:
    """Put the limit and what is left of it into an answer's head; a signal, since event streams send theirs early."""
    counted = request.get(_COUNTED)
    if counted is not None:
        limit, verdict = counted
        response.headers["RateLimit-Policy"] = f'"{limit.name}";q={verdict.amount};w={limit.seconds}'
        response.headers["RateLimit"] = f'"{limit.name}";r={verdict.remaining};t={_seconds(verdict)}'


def _too_many(limit: Limit, verdict: Verdict) -> TooManyRequests:
    seconds = max(1, _seconds(verdict))
    return TooManyRequests(
        f"at most {verdict.amount} in {limit.seconds} s for each {limit.counted}: try again in {seconds} s",
        retry_after_seconds=seconds,
        limit=limit.name,
        amount=verdict.amount,
        seconds=limit.seconds,
    )


def _seconds(verdict: Verdict) -> int:
    return math.ceil(verdict.reset_seconds)
