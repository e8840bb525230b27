"""Reads after one's own writes, over HTTP: who writes is given a token, who shows one is read accordingly."""

from typing import Protocol

from aiohttp import web

from runtime.endpoints import Endpoint
from runtime.read_pool_token import COOKIE, COOKIE_SECONDS, HEADER, UNKNOWN, ReadingAfter, shown_token


class ReadsAfterWrites(Protocol):
    """What knows how far who reads after a write must see (`runtime.read_pool.ReadPool`)."""

    async def token(self) -> str | None:
        """The token for an answer to a write; None if reads see everything anyway."""
        ...


def reading_for(endpoint: Endpoint, request: web.Request) -> ReadingAfter:
    """How reads are made while a request is handled: one that writes itself reads from the primary."""
    return ReadingAfter(shown_token(request.headers) if endpoint.method == "GET" else UNKNOWN)


async def give_token(endpoint: Endpoint, answer: web.StreamResponse, reads: ReadsAfterWrites | None) -> None:
    """Put the token into the answer to a person's write, as a header and as a cookie of some seconds."""
    if reads is None or endpoint.method == "GET" or endpoint.caller == "none" or answer.prepared:
        return
    token = await reads.token()
    if token is not None:
        answer.headers[HEADER] = token
        answer.set_cookie(COOKIE, token, max_age=COOKIE_SECONDS, path="/api", httponly=True, samesite="Lax")
