"""Passwords: Argon2id in an executor of its own with a bounded queue, so that logins never stop the event loop."""

import asyncio
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from accounts import metrics
from accounts.errors import LoginsBusy

T = TypeVar("T")

# OWASP Password Storage Cheat Sheet, Argon2id: m=19 MiB, t=2, p=1.
MEMORY_KIBIBYTES = 19 * 1024
ITERATIONS = 2
LANES = 1

PASSWORD_CHARACTERS_MIN = 8
PASSWORD_CHARACTERS_MAX = 128

BUSY_RETRY_SECONDS = 2


class Passwords:
    """Hashes and checks passwords with `workers` threads (Argon2 lets go of the interpreter lock); close it at the end.

    At most `queue_max` may be under way or waiting; beyond that LoginsBusy is raised at once.
    """

    def __init__(self, *, workers: int, queue_max: int) -> None:
        self._hasher = PasswordHasher(
            time_cost=ITERATIONS, memory_cost=MEMORY_KIBIBYTES, parallelism=LANES, type=Type.ID
        )
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="password")
        self._queue_max = queue_max
        self._under_way = 0
        # Checked when the name is unknown, so that the time of the answer does not tell whether a name exists.
        self._nobodys_hash = self._hasher.hash(secrets.token_urlsafe(32))

    async def hash(self, password: str) -> str:
        """The password's encoded hash, salt and parameters included. Raises LoginsBusy."""
        return await self._run(lambda: self._hasher.hash(password))

    async def check(self, password: str, password_hash: str | None) -> bool:
        """Whether the password is the hash's; None (a name that nobody has) takes as long. Raises LoginsBusy."""
        matches = await self._run(lambda: self._matches(password, password_hash or self._nobodys_hash))
        return matches and password_hash is not None

    def is_outdated(self, password_hash: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(password_hash)

    def close(self) -> None:
        """Let the threads end; what waits is dropped."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _matches(self, password: str, password_hash: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerifyMismatchError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._under_way >= self._queue_max:
            raise LoginsBusy("too many passwords are being checked; try again", retry_after_seconds=BUSY_RETRY_SECONDS)
        self._under_way += 1
        metrics.passwords_waiting.set(self._under_way)
        started = time.perf_counter()
        future = self._executor.submit(work)
        # Counted when the thread is done and not when the caller leaves: a client that hangs up frees no thread.
        future.add_done_callback(self._done_soon(asyncio.get_running_loop()))
        result = await asyncio.wrap_future(future)
        metrics.password_seconds.observe(time.perf_counter() - started)
        return result

    def _done_soon(self, loop: asyncio.AbstractEventLoop) -> Callable[[object], None]:
        def done(_future: object) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._finished)

        return done

    def _finished(self) -> None:
        self._under_way -= 1
        metrics.passwords_waiting.set(self._under_way)
