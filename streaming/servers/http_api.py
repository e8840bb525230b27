"""The HTTP API of a media server: bounded in time and size, answers read into models."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

import aiohttp
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from streaming import metrics
from streaming.errors import MediaServerUnavailable

CONNECTIONS_MAX: Final = 20
ANSWER_BYTES_MAX: Final = 32 * 1024 * 1024


class ApiAnswer(BaseModel):
    """What we read of an answer; servers add fields from version to version."""

    model_config = ConfigDict(extra="ignore", frozen=True)


A = TypeVar("A", bound=ApiAnswer)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer as it came."""

    action: str
    status: int
    body: bytes

    def read(self, model: type[A]) -> A:
        """The answer in its model; raises MediaServerUnavailable for another status than 200, or for something else."""
        return self._read(TypeAdapter(model))

    def read_list(self, model: type[A]) -> list[A]:
        """The same of an answer that is a list."""
        return self._read(TypeAdapter(list[model]))  # type: ignore[valid-type]  # made for the model that was given

    def _read(self, adapter: TypeAdapter[T]) -> T:
        if self.status != 200:
            metrics.media_server_failures.labels(self.action).inc()
            raise MediaServerUnavailable(self.action, f"answered {self.status}")
        try:
            return adapter.validate_json(self.body)
        except ValidationError as error:
            metrics.media_server_failures.labels(self.action).inc()
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(map(str, first["loc"])) or "the body"
            raise MediaServerUnavailable(self.action, f"answered something else: {where}: {first['msg']}") from error


class HttpApi:
    """One server's API below an address."""

    def __init__(
        self, http: aiohttp.ClientSession, address: str, *, authorization: str | None, seconds_max: float
    ) -> None:
        self._http = http
        self._address = address.rstrip("/")
        self._headers = {"Authorization": authorization} if authorization else {}
        self.seconds_max = seconds_max

    async def ask(self, action: str, method: str, path: str, **query: str | int) -> Answered:
        """Ask once. Raises MediaServerUnavailable when no answer comes in time, or one that is too large."""
        try:
            async with (
                asyncio.timeout(self.seconds_max),
                self._http.request(
                    method, self._address + path, params=query, headers=self._headers, allow_redirects=False
                ) as answer,
            ):
                return Answered(action, answer.status, await _whole(answer, action))
        except (aiohttp.ClientError, OSError) as error:
            metrics.media_server_failures.labels(action).inc()
            raise MediaServerUnavailable(action, str(error) or type(error).__name__) from error


async def _whole(answer: aiohttp.ClientResponse, action: str) -> bytes:
    """The body to its end: half a list would say that somebody is not there."""
    pieces, length = [], 0
    async for piece in answer.content.iter_any():
        pieces.append(piece)
        length += len(piece)
        if length > ANSWER_BYTES_MAX:
            raise MediaServerUnavailable(action, f"answered more than {ANSWER_BYTES_MAX} bytes")
    return b"".join(pieces)


async def wait_until_gone(
    api: HttpApi, is_there: Callable[[], Awaitable[bool]], *, poll_seconds: float
) -> Literal[True]:
    """Ask until a publisher that was cut off has let go of its stream; raises MediaServerUnavailable if it does not."""
    deadline = time.monotonic() + api.seconds_max
    while await is_there():
        if time.monotonic() >= deadline:
            raise MediaServerUnavailable("drop", "the publisher is still there")
        await asyncio.sleep(poll_seconds)
    return True
