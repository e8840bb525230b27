"""Many short questions to Redis in few round trips: what comes while one is under way goes together in the next.

For questions that every request asks. One server, a master behind Sentinels, or a cluster; a script each, on one key's
slot. A server that is away costs at most its bound: after a failure `resting` says so for a while, for those who can do
without an answer, and the next question finds out whether it is back.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from runtime import metrics
from runtime.cancellation import raise_if_cancelled
from runtime.redis_cluster import ClusterRedis

log = structlog.get_logger(__name__)

BATCH_MAX = 256
WAITING_MAX = 4_096
ANSWER_SECONDS_MAX = 2.0
REST_SECONDS = 1.0


class RedisAway(Exception):
    """Redis did not answer in time, or answered that it cannot."""


@dataclass(frozen=True)
class Script:
    """A Lua script, by its text and by the name that Redis gives it."""

    text: str
    digest: str

    @classmethod
    def of(cls, text: str) -> "Script":
        """The script with this text."""
        return cls(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


@dataclass(frozen=True)
class _Question:
    script: Script
    keys: Sequence[str]
    arguments: Sequence[str | bytes | int]
    answer: asyncio.Future[Any]


class RedisBatches:
    """Asks for all who wait at once; an asker that gives up is not waited for."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._nodes = redis.nodes if isinstance(redis, ClusterRedis) else None
        self._waiting: list[_Question] = []
        self._asking: asyncio.Task[None] | None = None
        self._rest_until = 0.0
        self._away = False

    @property
    def resting(self) -> bool:
        """Whether Redis was away a moment ago, and nobody should wait for it who need not."""
        return self._away and asyncio.get_running_loop().time() < self._rest_until

    async def ask(
        self, script: Script, keys: Sequence[str], arguments: Sequence[str | bytes | int], *, seconds_max: float
    ) -> Any:  # noqa: ANN401  Lua answers anything
        """The script's answer within ``seconds_max``; raises RedisAway. It may have run although nobody heard of it."""
        if len(self._waiting) >= WAITING_MAX:
            raise RedisAway(f"{WAITING_MAX} questions wait already")
        loop = asyncio.get_running_loop()
        question = _Question(script, keys, arguments, loop.create_future())
        self._waiting.append(question)
        if self._asking is None:
            self._asking = loop.create_task(self._ask_all())
        try:
            async with asyncio.timeout(seconds_max):
                return await question.answer
        except TimeoutError as error:
            self._rest("no answer in time")
            raise RedisAway("no answer in time") from error

    async def _ask_all(self) -> None:
        asked: list[_Question] = []
        try:
            while self._waiting:
                asked, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
                asked = [question for question in asked if not question.answer.done()]
                await self._ask_batch(asked)
        finally:
            self._asking = None
            # Nobody is left behind, whatever happened here.
            for question in (*asked, *self._waiting):
                _refuse(question, RedisAway("the question was dropped"))

    async def _ask_batch(self, batch: Sequence[_Question]) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                for client, questions in await self._by_client(batch):
                    await _ask(client, questions)
            raise_if_cancelled()
        except (RedisError, OSError) as error:
            reason = str(error) or type(error).__name__
            self._rest(reason)
            for question in batch:
                _refuse(question, RedisAway(reason))
            if self._nodes is not None:
                await self._look()
        else:
            self._back()

    async def _by_client(self, batch: Sequence[_Question]) -> list[tuple[Redis, list[_Question]]]:
        if self._nodes is None:
            return [(self._redis, list(batch))]
        if not self._nodes.owners():
            await self._nodes.look()
        groups: dict[tuple[str, int], list[_Question]] = {}
        for question in batch:
            groups.setdefault(self._nodes.owner(question.keys[0]), []).append(question)
        return [(self._nodes.client(server), questions) for server, questions in groups.items()]

    async def _look(self) -> None:
        """A slot may have moved, or have another owner by now; the next question asks that one."""
        assert self._nodes is not None  # noqa: S101  asked before the call
        try:
            await self._nodes.look()
        except (RedisError, OSError) as error:
            log.debug("redis_cluster_not_seen", reason=str(error))

    def _rest(self, reason: str) -> None:
        self._rest_until = asyncio.get_running_loop().time() + REST_SECONDS
        if not self._away:
            self._away = True
            metrics.limits_redis_away.set(1)
            log.warning("limits_redis_away", reason=reason)

    def _back(self) -> None:
        if self._away:
            self._away = False
            metrics.limits_redis_away.set(0)
            log.info("limits_redis_back")


async def _ask(client: Redis, questions: Sequence[_Question]) -> None:
    answers = await _pipelined(client, questions)
    # A server that was restarted knows no scripts. It is told once, and asked again what it could not answer.
    unknown = [
        question for question, answer in zip(questions, answers, strict=True) if isinstance(answer, NoScriptError)
    ]
    if unknown:
        for script in {question.script for question in unknown}:
            await client.script_load(script.text)
        again = iter(await _pipelined(client, unknown))
        answers = [next(again) if isinstance(answer, NoScriptError) else answer for answer in answers]
    failed = [answer for answer in answers if isinstance(answer, Exception)]
    for question, answer in zip(questions, answers, strict=True):
        if not isinstance(answer, Exception) and not question.answer.done():
            question.answer.set_result(answer)
    if failed:
        raise failed[0]


async def _pipelined(client: Redis, questions: Sequence[_Question]) -> list[Any]:
    if len(questions) == 1:  # half the work of a pipeline of one
        try:
            return [await client.execute_command(*_command(questions[0]))]  # type: ignore[no-untyped-call]  # redis-py: *args untyped
        except NoScriptError as error:
            return [error]
    pipeline = client.pipeline(transaction=False)
    for question in questions:
        pipeline.execute_command(*_command(question))
    return list(await pipeline.execute(raise_on_error=False))


def _command(question: _Question) -> tuple[str | bytes | int, ...]:
    return ("EVALSHA", question.script.digest, len(question.keys), *question.keys, *question.arguments)


def _refuse(question: _Question, error: RedisAway) -> None:
    if not question.answer.done():
        question.answer.set_exception(error)
